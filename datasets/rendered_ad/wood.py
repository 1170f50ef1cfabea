"""A planed and oiled board, with growth rings, and fibres and pores along the grain."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.noise import Plane, smooth_line, smooth_noise, streaks
from datasets.rendered_ad.part_defects import scratch_path
from datasets.rendered_ad.raking_light import raking_light
from datasets.rendered_ad.shading import Light, Radiance
from datasets.rendered_ad.shapes import part_coordinates, pixel_grid, smoothstep, stroke
from datasets.rendered_ad.surface_defects import (
    Change,
    groove,
    random_length,
    random_place,
    stain_pigment,
)

RINGS = 13.0
"""Number of growth rings across the image."""
LIGHT = Light(azimuth_degrees=-70, elevation_degrees=52, key=0.7, tent=0.42)
EARLYWOOD = np.array([0.60, 0.385, 0.205], np.float32)
LATEWOOD = np.array([0.325, 0.165, 0.072], np.float32)
RAW = np.array([0.72, 0.54, 0.34], np.float32)
"""Colour of wood below the oil."""
DEPTH = np.array([0.014, 0.008, 0.005], np.float32)
"""Colour of a hole, which returns little light."""


class Board(NamedTuple):
    """A board under the camera. Lengths are in image widths."""

    x: Plane
    y: Plane
    along: Plane
    across: Plane
    """Position across the wavy grain."""
    ring_of: Float32[np.ndarray, " n"]
    """Number of rings up to a position: n equal steps of `across` from -1 to 1."""
    ring_strength: Float32[np.ndarray, " n"]
    fibre: Plane
    pores: Plane
    tint: Float32[np.ndarray, "3"]
    light: Light


class Flaw(NamedTuple):
    """A change of the finished surface, or of the tree's growth."""

    change: Change
    deflection: Plane | float = 0.0
    """Added to `across`."""


@functools.lru_cache(maxsize=1)
def random_board(seed: int, size_px: int) -> Board:
    """A random board. The last one is cached, to be drawn with its defect too."""
    rng = np.random.default_rng(seed)
    x, y = pixel_grid(size_px)
    shape, degrees = (size_px, size_px), float(rng.normal(0, 1.5))
    along, across = part_coordinates(x, y, shift=(0.0, 0.0), degrees=degrees)
    across = across + np.float32(0.016) * smooth_noise(
        rng, shape, (0.16 * size_px, 0.34 * size_px)
    )
    across += np.float32(0.0016) * smooth_noise(
        rng, shape, (0.02 * size_px, 0.06 * size_px)
    )
    spacing = np.exp(np.float32(0.30) * smooth_line(rng, 1024, 60))
    ring_of = np.cumsum(spacing * np.float32(RINGS * 2 / 1024)) + rng.uniform()
    fibre = streaks(
        rng, shape, [(0.5, 22, 1.0), (1.3, 70, 0.9), (7, 160, 0.5)], degrees=degrees
    )
    pores = streaks(rng, shape, [(0.65, 7.5, 1.0)], degrees=degrees)
    tint = 1 + np.float32(0.035) * rng.standard_normal(3, np.float32) * (0.3, 0.3, 0.6)
    tint = tint * np.float32(1 + rng.normal(0, 0.05))
    return Board(
        x,
        y,
        along,
        across,
        ring_of.astype(np.float32),
        rng.uniform(0.5, 1.0, 64).astype(np.float32),
        fibre,
        np.clip((pores - 1.25) * np.float32(0.8), 0, 1),
        tint.astype(np.float32),
        LIGHT.varied(rng),
    )


def latewood(sheet: Board, deflection: Plane | float) -> Plane:
    """Share of dark latewood: increases slowly through a ring, drops at its end."""
    place = (sheet.across + deflection + 1) * np.float32(512)
    row = np.clip(place.astype(np.int32), 0, 1022)
    low, high = np.take(sheet.ring_of, row), np.take(sheet.ring_of, row + 1)
    rings = low + (high - low) * (place - row)
    whole = np.floor(rings)
    strength = np.take(sheet.ring_strength, whole.astype(np.int32) & 63)
    t = rings - whole
    return strength * smoothstep(0.1, 0.9, t) * (1 - smoothstep(0.9, 1.0, t))


def board_radiance(sheet: Board, flaw: Flaw) -> Radiance:
    """Radiance of the board with a flaw."""
    dark = latewood(sheet, flaw.deflection)
    pores = sheet.pores * (1 - np.float32(0.6) * dark)
    share = np.float32(0.12) + np.float32(0.62) * dark
    share = np.clip(share + np.float32(0.085) * sheet.fibre, 0, 1)[..., None]
    albedo = EARLYWOOD + share * (LATEWOOD - EARLYWOOD)
    albedo *= sheet.tint
    albedo *= (1 - np.float32(0.55) * pores)[..., None]
    albedo = flaw.change.albedo(albedo)
    height = np.float32(0.0002) * sheet.fibre - np.float32(0.0012) * pores
    height += np.float32(0.0007) * dark + flaw.change.height
    return raking_light(height, albedo, sheet.light, gloss=0.035, shininess=14)


def scratch(rng: np.random.Generator, sheet: Board) -> Flaw:
    """A scratch that exposes the raw wood."""
    place = random_place(rng)
    half_width = random_length(rng, 0.0030, 0.0065)
    path = scratch_path(
        rng,
        centre=place.centre,
        length=random_length(rng, 0.15, 0.6),
        half_width=half_width,
        heading=np.pi / 2 + float(rng.normal(0, 0.7)),
    )
    distance = stroke(sheet.x, sheet.y, path.points, path.half_widths)
    depth = half_width * float(rng.uniform(0.4, 0.9))
    bare = 1 - smoothstep(-0.6 * half_width, 0.1 * half_width, distance)
    bare *= np.float32(rng.uniform(0.45, 0.9)) + np.float32(0.12) * sheet.fibre
    profile = np.float32(depth) * groove(distance, half_width)
    return Flaw(Change(height=profile, cover=np.clip(bare, 0, 1), cover_albedo=RAW))


def hole(rng: np.random.Generator, sheet: Board) -> Flaw:
    """One to five bore holes of beetles: round and dark, with a crushed rim."""
    count = int(rng.integers(1, 6))
    middle = np.asarray(random_place(rng, reach=0.33).centre)
    radius = random_length(rng, 0.012, 0.055) / np.sqrt(0.5 + 0.5 * count)
    distance = np.full_like(sheet.x, 1.0)
    for centre in middle + rng.normal(0, 0.02 + 2.0 * radius, (count, 2)) * (count > 1):
        dx, dy = sheet.x - np.float32(centre[0]), sheet.y - np.float32(centre[1])
        size = np.float32(radius * rng.uniform(0.75, 1.25))
        squeeze = np.float32(rng.uniform(0.75, 1.0))
        np.minimum(distance, np.hypot(dx * squeeze, dy) - size, out=distance)
    inside = 1 - smoothstep(-0.003, 0.0005, distance)
    rim = smoothstep(0, 0.0015, distance) * (1 - smoothstep(0.0015, 0.005, distance))
    dye = (1 - np.float32(0.35) * rim)[..., None]
    return Flaw(
        Change(
            height=np.float32(0.0012) * rim - np.float32(0.006) * inside,
            dye=dye,
            cover=inside,
            cover_albedo=DEPTH,
        )
    )


def stain(rng: np.random.Generator, sheet: Board) -> Flaw:
    """A stain that spread along the fibres."""
    centre = random_place(rng).centre
    creep = np.float32(rng.uniform(1.2, 1.9))
    pigment = stain_pigment(
        rng,
        sheet.along / creep,
        sheet.across + np.float32(0.0025) * sheet.fibre,
        centre=(centre[0] / float(creep), centre[1]),
        radius=random_length(rng, 0.035, 0.13),
    )
    absorbed = np.array(
        ((0.45, 0.55, 0.62), (0.72, 0.68, 0.6), (0.6, 0.45, 0.2))[rng.integers(3)]
    )
    strength = (absorbed * rng.uniform(0.7, 1.1)).astype(np.float32)
    return Flaw(Change(dye=np.maximum(1 - pigment[..., None] * strength, 0.05)))


def crack(rng: np.random.Generator, sheet: Board) -> Flaw:
    """A crack along the grain, from drying."""
    centre = random_place(rng, reach=0.4).centre
    length = random_length(rng, 0.25, 0.9)
    along = (sheet.along - np.float32(centre[0])) * np.float32(2 / length)
    taper = np.sqrt(np.clip(1 - along * along, 0, 1))
    steps = np.linspace(-0.75, 0.75, 257)
    jag = np.cumsum(rng.normal(0, 0.0006, 257)) + rng.normal(0, 0.0006, 257)
    edge = np.interp(sheet.along, steps, jag - jag[128]).astype(np.float32)
    half_width = random_length(rng, 0.0018, 0.0055)
    width_noise = np.interp(sheet.along, steps[::4], rng.uniform(0.6, 1.3, 65))
    opening = np.float32(half_width) * taper * width_noise.astype(np.float32)
    off = np.abs(sheet.across - np.float32(centre[1]) - edge)
    distance = np.where(taper > 0, off - opening, np.float32(1))
    inside = 1 - smoothstep(-0.0018, 0.0006, distance)
    lip = 1 - smoothstep(0.0, 0.004, distance)
    return Flaw(
        Change(
            height=np.float32(-0.004) * inside - np.float32(0.0006) * lip,
            cover=np.float32(0.95) * inside,
            cover_albedo=DEPTH,
        )
    )


def knot(rng: np.random.Generator, sheet: Board) -> Flaw:
    """A knot: concentric rings, with the grain bent around them."""
    centre = random_place(rng, reach=0.33).centre
    radius = random_length(rng, 0.022, 0.060)
    stretch = np.float32(rng.uniform(1.15, 1.6))
    dx = (sheet.along - np.float32(centre[0])) / stretch
    dy = sheet.across - np.float32(centre[1])
    angle = np.arctan2(dy, dx)
    wave = sum(
        np.float32(rng.normal(0, 0.05))
        * np.cos(k * angle + np.float32(rng.uniform(0, 6)))
        for k in (1, 2, 3, 5)
    )
    r = np.hypot(dx, dy) * (1 + wave) / np.float32(radius)
    outside = np.maximum(r, 0.9)
    flow = np.clip(1 - (outside - 1) / np.float32(2.2), 0, 1) ** 2 / (outside * outside)
    eye = 1 - smoothstep(0.86, 1.02, r)
    rings = np.float32(0.5) + np.float32(0.5) * np.cos(
        r * np.float32(rng.uniform(20, 32))
    )
    bark = smoothstep(0.7, 0.95, r) * eye
    shade = np.float32(0.75) + np.float32(0.25) * rings - np.float32(0.55) * bark
    shade += np.float32(0.07) * sheet.fibre
    colour = np.array([0.25, 0.105, 0.042], np.float32) * sheet.tint
    halo = np.float32(0.30) * (1 - smoothstep(0.9, 2.1, r))
    return Flaw(
        Change(
            height=np.float32(0.0008) * eye * rings - np.float32(0.002) * bark,
            dye=(1 - halo)[..., None],
            cover=eye,
            cover_albedo=np.maximum(shade, 0.1)[..., None] * colour,
        ),
        deflection=-dy * flow,
    )


_FLAW_MAKERS: dict[str, Callable[[np.random.Generator, Board], Flaw]] = {
    "crack": crack,
    "hole": hole,
    "knot": knot,
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
    """Radiance of one board, before the camera."""
    sheet = random_board(int(material.integers(2**63)), size_px)
    return board_radiance(
        sheet,
        Flaw(Change()) if defect == "good" else _FLAW_MAKERS[defect](flaw_rng, sheet),
    )


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one board, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)
