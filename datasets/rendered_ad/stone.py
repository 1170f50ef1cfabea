"""Polished granite: touching crystals of feldspar, quartz and mica."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.noise import Plane, smooth_noise
from datasets.rendered_ad.part_defects import crack_path, scratch_path
from datasets.rendered_ad.raking_light import raking_light
from datasets.rendered_ad.shading import Light, Radiance
from datasets.rendered_ad.shapes import pixel_grid, smoothstep, stroke
from datasets.rendered_ad.surface_defects import (
    Change,
    groove,
    puddle,
    random_length,
    random_place,
    stain_pigment,
)

CRYSTALS = 5200
"""Number of crystals in the image."""
LIGHT = Light(azimuth_degrees=-130, elevation_degrees=50, key=0.66, tent=0.42)
MINERALS = np.array(
    [
        [0.275, 0.27, 0.262],  # plagioclase, pale
        [0.215, 0.198, 0.185],  # alkali feldspar, warm
        [0.155, 0.158, 0.165],  # quartz, grey
        [0.078, 0.077, 0.078],  # biotite, black
    ],
    np.float32,
)
SHARES = (0.35, 0.25, 0.32, 0.08)
CRUSHED = np.array([0.50, 0.49, 0.47], np.float32)
"""Colour of broken or scratched crystals, which scatter light."""


class Slab(NamedTuple):
    """A slab under the camera."""

    x: Plane
    y: Plane
    albedo: Radiance
    grain: Plane
    """Fine noise of unit variance."""
    light: Light


def _minerals(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random mineral of every crystal, as an index into `MINERALS`."""
    return rng.choice(len(SHARES), count, p=SHARES)


def crystals(rng: np.random.Generator, size_px: int) -> Radiance:
    """Colours of crystals that are the Voronoi cells of random points."""
    seeds = np.ones((size_px, size_px), bool)
    rows, columns = rng.integers(0, size_px, (2, CRYSTALS))
    seeds[rows, columns] = False
    nearest = ndimage.distance_transform_edt(
        seeds, return_distances=False, return_indices=True
    )
    assert isinstance(nearest, np.ndarray)
    row, column = nearest[0], nearest[1]
    numbers = np.zeros((size_px, size_px), np.int32)
    numbers[rows, columns] = np.arange(CRYSTALS)
    crystal = numbers[row, column]
    tones = 1 + np.float32(0.12) * rng.standard_normal(CRYSTALS, np.float32)
    colours = MINERALS[_minerals(rng, CRYSTALS)] * tones[:, None]
    facets = np.float32(8.0 / size_px) * rng.standard_normal((2, CRYSTALS), np.float32)
    down = (np.arange(size_px, dtype=np.int32)[:, None] - row).astype(np.float32)
    right = (np.arange(size_px, dtype=np.int32)[None, :] - column).astype(np.float32)
    sheen = np.take(facets[0], crystal) * down + np.take(facets[1], crystal) * right
    return (
        np.take(colours, crystal, axis=0) * (1 + np.clip(sheen, -0.3, 0.3))[..., None]
    )


@functools.lru_cache(maxsize=1)
def random_slab(seed: int, size_px: int) -> Slab:
    """A random slab. The last one is cached, to be drawn with its defect too."""
    rng = np.random.default_rng(seed)
    x, y = pixel_grid(size_px)
    shape = (size_px, size_px)
    albedo = crystals(rng, size_px)
    grain = smooth_noise(rng, shape, 0.8)
    cloud = smooth_noise(rng, shape, 0.09 * size_px)
    albedo *= (1 + np.float32(0.05) * grain + np.float32(0.035) * cloud)[..., None]
    tint = 1 + np.array([0.006, 0.003, 0.009]) * rng.standard_normal(3)
    albedo *= (tint * (1 + rng.normal(0, 0.03))).astype(np.float32)
    return Slab(x, y, albedo, grain, LIGHT.varied(rng))


def slab_radiance(sheet: Slab, change: Change) -> Radiance:
    """Radiance of the slab with a change."""
    height = np.float32(0.00008) * sheet.grain + change.height
    return raking_light(
        height, change.albedo(sheet.albedo), sheet.light, gloss=0.03, shininess=25
    )


def crack(rng: np.random.Generator, sheet: Slab) -> Change:
    """A crack with up to two branches, whose edges are chipped in places."""
    place = random_place(rng, reach=0.42)
    inward = np.arctan2(-place.centre[1], -place.centre[0])
    heading = float(inward + rng.normal(0, 0.5))
    length = random_length(rng, 0.25, 0.9)
    half_width = random_length(rng, 0.0030, 0.0065)
    trunk = crack_path(
        rng, start=place.centre, heading=heading, length=length, half_width=half_width
    )
    paths = [trunk]
    for _ in range(int(rng.integers(0, 3))):
        fork = trunk.points[rng.integers(len(trunk.points) // 4, len(trunk.points))]
        paths.append(
            crack_path(
                rng,
                start=(float(fork[0]), float(fork[1])),
                heading=heading + float(rng.choice([-1, 1]) * rng.uniform(0.4, 0.9)),
                length=length * float(rng.uniform(0.2, 0.45)),
                half_width=0.7 * half_width,
            )
        )
    distance = np.full_like(sheet.x, 1.0)
    for path in paths:
        found = stroke(sheet.x, sheet.y, path.points, path.half_widths)
        np.minimum(distance, found, out=distance)
    inside = 1 - smoothstep(-0.0012, 0.0008, distance)
    spall = (1 - smoothstep(0.0, 0.006, distance)) * np.clip(
        np.float32(0.15) + np.float32(0.35) * sheet.grain, 0, 0.7
    )
    depth = np.float32(0.003) * inside + np.float32(0.001) * spall
    cover = np.maximum(inside, spall)
    colour = CRUSHED + inside[..., None] * (np.float32(0.03) - CRUSHED)
    return Change(height=-depth, cover=cover, cover_albedo=colour)


def chip(rng: np.random.Generator, sheet: Slab) -> Change:
    """A chip: a polygonal outline and a rippled floor of crushed stone."""
    centre = random_place(rng).centre
    radius = random_length(rng, 0.030, 0.10)
    dx, dy = sheet.x - np.float32(centre[0]), sheet.y - np.float32(centre[1])
    edge = np.full_like(sheet.x, -1.0)
    sides = int(rng.integers(5, 9))
    turns = (np.arange(sides) + rng.uniform(-0.3, 0.3, sides)) * 2 * np.pi / sides
    for turn in turns + rng.uniform(0, 2 * np.pi):
        normal = np.array([np.cos(turn), np.sin(turn)], np.float32)
        reach = np.float32(radius * rng.uniform(0.6, 1.25))
        np.maximum(edge, dx * normal[0] + dy * normal[1] - reach, out=edge)
    edge += np.float32(0.0012) * sheet.grain
    t = np.clip(edge * np.float32(-1 / (0.55 * radius)), 0, 1)
    strike = rng.uniform(0, 2 * np.pi)
    ripples = np.hypot(
        dx - np.float32(1.2 * radius * np.cos(strike)),
        dy - np.float32(1.2 * radius * np.sin(strike)),
    )
    shell = np.sin(ripples * np.float32(2 * np.pi * 4.5 / radius))
    depth = (
        np.float32(0.28 * radius) * np.sqrt(t) + np.float32(0.012 * radius) * shell * t
    )
    depth += np.float32(0.0005) * sheet.grain * (t > 0)
    inside = 1 - smoothstep(-0.002, 0.0005, edge)
    share = inside * np.float32(rng.uniform(0.35, 0.7))
    return Change(height=-depth, cover=share, cover_albedo=CRUSHED)


def stain(rng: np.random.Generator, sheet: Slab) -> Change:
    """A stain of oil, rusty water or wine."""
    pigment = stain_pigment(
        rng,
        sheet.x + np.float32(0.0012) * sheet.grain,
        sheet.y,
        centre=random_place(rng).centre,
        radius=random_length(rng, 0.035, 0.14),
    )
    absorbed = np.array(
        ((0.42, 0.46, 0.5), (0.22, 0.52, 0.78), (0.4, 0.72, 0.58))[rng.integers(3)]
    )
    strength = (absorbed * rng.uniform(0.75, 1.15)).astype(np.float32)
    return Change(dye=np.maximum(1 - pigment[..., None] * strength, 0.05))


def scratch(rng: np.random.Generator, sheet: Slab) -> Change:
    """One to three pale scratches."""
    place = random_place(rng)
    half_width = random_length(rng, 0.0032, 0.0065)
    distance = np.full_like(sheet.x, 1.0)
    for _ in range(int(rng.integers(1, 4))):
        path = scratch_path(
            rng,
            centre=(
                place.centre[0] + float(rng.normal(0, 0.03)),
                place.centre[1] + float(rng.normal(0, 0.03)),
            ),
            length=random_length(rng, 0.15, 0.6),
            half_width=half_width * float(rng.uniform(0.7, 1.0)),
            heading=place.heading + float(rng.normal(0, 0.08)),
        )
        found = stroke(sheet.x, sheet.y, path.points, path.half_widths)
        np.minimum(distance, found, out=distance)
    powder = 1 - smoothstep(-0.7 * half_width, 0.2 * half_width, distance)
    share = np.float32(rng.uniform(0.55, 0.95)) + np.float32(0.15) * sheet.grain
    depth = np.float32(0.35 * half_width) * groove(distance, half_width)
    return Change(
        height=depth, cover=np.clip(powder * share, 0, 1), cover_albedo=CRUSHED * 1.15
    )


def rough(rng: np.random.Generator, sheet: Slab) -> Change:
    """An unpolished spot: dull and pitted, with saw marks."""
    centre, radius = random_place(rng).centre, random_length(rng, 0.045, 0.125)
    edge = puddle(rng, sheet.x, sheet.y, centre=centre, radius=radius)
    inside = 1 - smoothstep(-0.25 * radius, 0.0, edge)
    turn = rng.uniform(0, np.pi)
    over = sheet.x * np.float32(np.cos(turn)) + sheet.y * np.float32(np.sin(turn))
    saw = np.sin(over * np.float32(2 * np.pi * rng.uniform(70, 100)))
    pits = np.float32(rng.uniform(0.0006, 0.0011)) * sheet.grain
    relief = (pits + np.float32(0.0006) * saw) * inside
    dull = np.float32(rng.uniform(0.3, 0.55)) * inside
    return Change(height=relief, cover=dull, cover_albedo=CRUSHED * np.float32(0.85))


_FLAW_MAKERS: dict[str, Callable[[np.random.Generator, Slab], Change]] = {
    "chip": chip,
    "crack": crack,
    "rough": rough,
    "scratch": scratch,
    "stain": stain,
}
DEFECTS = tuple(_FLAW_MAKERS)


def draw(
    material: np.random.Generator,
    flaw_rng: np.random.Generator,
    defect: str,
    size_px: int,
) -> Radiance:
    """Radiance of one slab, before the camera."""
    sheet = random_slab(int(material.integers(2**63)), size_px)
    return slab_radiance(
        sheet, Change() if defect == "good" else _FLAW_MAKERS[defect](flaw_rng, sheet)
    )


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one slab, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)
