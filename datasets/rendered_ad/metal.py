"""Brushed sheet steel, whose fine grooves spread the lamp's reflection across them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.noise import Plane, fractal_noise, smooth_noise, streaks
from datasets.rendered_ad.part_defects import scratch_path
from datasets.rendered_ad.shading import Light, Radiance
from datasets.rendered_ad.shapes import (
    box,
    part_coordinates,
    pixel_grid,
    smoothstep,
    stroke,
)
from datasets.rendered_ad.surface_defects import (
    Change,
    bowl,
    groove,
    puddle,
    random_length,
    random_place,
    stain_pigment,
)

LIGHT = Light(azimuth_degrees=-90, elevation_degrees=60, key=0.5, tent=0.36)
STEEL = np.array([0.585, 0.58, 0.565], np.float32)
BRUSHING = ((0.45, 22, 1.0), (0.6, 60, 1.1), (1.2, 140, 0.5), (5.0, 320, 0.22))
"""Layers of grooves: standard deviation across and along, and weight.

The deviations are in pixels of a sheet of 480 pixels.
"""
LOBE_ALONG, LOBE_ACROSS = 0.24, 0.85
"""Widths of the lamp's reflection along and across the brushing, as slopes."""


class Sheet(NamedTuple):
    """A sheet under the camera."""

    x: Plane
    y: Plane
    degrees: float
    """Direction of the brushing."""
    brushing: Plane
    """Brightness of the grooves, with a variance of about 1."""
    lamp_slope: Plane
    """Slope along the brushing at which a pixel would reflect the lamp."""
    tint: Float32[np.ndarray, "3"]
    light: Light


class Flaw(NamedTuple):
    """A change of the surface, or an area brushed in another direction."""

    change: Change
    rebrushed: Plane | float = 0.0
    """Weight in [0, 1] with which `brushing` below replaces the sheet's brushing."""
    brushing: Plane | float = 0.0
    brightness: float = 0.0
    """Relative change of the reflected light where rebrushed."""


def grooves(rng: np.random.Generator, size_px: int, degrees: float) -> Plane:
    """Brightness of brush marks: most are faint, a few are strong."""
    scale = size_px / 480
    layers = [
        (max(across * scale, 0.4), along * scale, w) for across, along, w in BRUSHING
    ]
    marks = streaks(rng, (size_px, size_px), layers, degrees=degrees)
    return marks * (np.float32(0.8) + np.float32(0.09) * marks * marks)


@functools.lru_cache(maxsize=1)
def random_sheet(seed: int, size_px: int) -> Sheet:
    """A random sheet. The last one is cached, to be drawn with its defect too."""
    rng = np.random.default_rng(seed)
    x, y = pixel_grid(size_px)
    degrees = float(rng.normal(0, 1.3))
    along, _ = part_coordinates(x, y, shift=(0.0, 0.0), degrees=degrees)
    waviness = smooth_noise(rng, (size_px, size_px), 0.22 * size_px)
    lamp_slope = (along - np.float32(rng.normal(0, 0.13))) * np.float32(0.30)
    lamp_slope += np.float32(0.012) * waviness
    tint = 1 + np.array([0.005, 0.002, 0.007]) * rng.standard_normal(3)
    return Sheet(
        x,
        y,
        degrees,
        grooves(rng, size_px, degrees),
        lamp_slope,
        (tint * (1 + rng.normal(0, 0.02))).astype(np.float32),
        LIGHT.varied(rng),
    )


def reflected_light(sheet: Sheet, height: Plane | float) -> Plane:
    """Light of lamp and tent that the grooves reflect.

    The lamp's lobe is an elliptical Gaussian (Ward 1992).
    """
    if isinstance(height, np.ndarray):
        down, right = np.gradient(height * np.float32(sheet.x.shape[1]))
        turn = np.radians(sheet.degrees)
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        along, across = cosine * right + sine * down, cosine * down - sine * right
    else:
        along = across = np.float32(0)
    lean = (along - sheet.lamp_slope) * np.float32(1 / LOBE_ALONG)
    side = (across + np.float32(0.25)) * np.float32(1 / LOBE_ACROSS)
    lamp = np.exp(-lean * lean - side * side) * np.float32(1.6 * sheet.light.key)
    tent = np.float32(sheet.light.tent) / (1 + 2 * (along * along + across * across))
    return lamp + tent


def sheet_radiance(sheet: Sheet, flaw: Flaw) -> Radiance:
    """Radiance of the sheet with a flaw."""
    marks = sheet.brushing + flaw.rebrushed * (flaw.brushing - sheet.brushing)
    light = reflected_light(sheet, flaw.change.height) * np.exp(
        np.float32(0.085) * marks
    )
    light *= 1 + flaw.rebrushed * np.float32(flaw.brightness)
    warmth = sheet.light.warmth / 2
    gains = np.array([1 + warmth, 1, 1 - warmth], np.float32)
    bare = np.broadcast_to(STEEL * sheet.tint * gains, (*light.shape, 3))
    return flaw.change.albedo(bare) * light[..., None]


def scratch(rng: np.random.Generator, sheet: Sheet) -> Flaw:
    """One to four scratches across the brushing, bright where they face the lamp."""
    place = random_place(rng)
    heading = np.pi / 2 + float(rng.normal(0, 0.6))
    half_width = random_length(rng, 0.0022, 0.0052)
    distance = np.full_like(sheet.x, 1.0)
    for _ in range(int(rng.integers(1, 5))):
        off = rng.normal(0, 0.03, 2)
        path = scratch_path(
            rng,
            centre=(place.centre[0] + float(off[0]), place.centre[1] + float(off[1])),
            length=random_length(rng, 0.10, 0.55),
            half_width=half_width * float(rng.uniform(0.6, 1.0)),
            heading=heading + float(rng.normal(0, 0.10)),
        )
        found = stroke(sheet.x, sheet.y, path.points, path.half_widths)
        np.minimum(distance, found, out=distance)
    depth = half_width * float(rng.uniform(0.25, 0.6))
    glint = 1 - smoothstep(-0.7 * half_width, 0.3 * half_width, distance)
    glint *= np.float32(rng.uniform(0.35, 0.8))
    height = np.float32(depth) * groove(distance, half_width)
    return Flaw(Change(height=height, cover=glint, cover_albedo=STEEL * 1.75))


def dent(rng: np.random.Generator, sheet: Sheet) -> Flaw:
    """A dent or a bulge; the brushing continues through it."""
    radius = random_length(rng, 0.045, 0.17)
    centre = random_place(rng).centre
    along, across = part_coordinates(
        sheet.x, sheet.y, shift=centre, degrees=float(rng.uniform(0, 180))
    )
    squeeze = np.float32(rng.uniform(1.0, 2.2))
    skew = across + np.float32(rng.normal(0, 0.35) / radius) * along * along
    distance = np.hypot(along, squeeze * skew) - np.float32(radius)
    depth = np.float32(radius * rng.uniform(0.07, 0.16) * rng.choice([-1, -1, 1]))
    return Flaw(Change(height=depth * bowl(distance, radius)))


def rust(rng: np.random.Generator, sheet: Sheet) -> Flaw:
    """Rust: a crust in the middle, specks around it, and a yellow halo."""
    centre = np.asarray(random_place(rng).centre)
    radius = random_length(rng, 0.020, 0.075)
    size_px = sheet.x.shape[0]
    grain = fractal_noise(rng, sheet.x.shape, coarsest_px=size_px / 90, octaves=3)
    ragged = np.float32(0.10 * radius) * grain
    middle = puddle(
        rng,
        sheet.x,
        sheet.y,
        centre=(float(centre[0]), float(centre[1])),
        radius=radius,
    )
    bloom = np.float32(0.45) * (1 - smoothstep(-0.1 * radius, 0.8 * radius, middle))
    distance = middle + ragged
    for _ in range(int(rng.integers(6, 18))):
        off = radius * (0.8 + rng.exponential(0.7)) * _random_direction(rng)
        size = np.float32(radius * rng.uniform(0.04, 0.20))
        dx = sheet.x - np.float32(centre[0] + off[0])
        dy = sheet.y - np.float32(centre[1] + off[1])
        speck = np.sqrt(dx * dx + dy * dy) - size + np.float32(0.4) * ragged
        np.minimum(distance, speck, out=distance)
    crust = 1 - smoothstep(-0.12 * radius, 0.02 * radius, distance)
    shade = np.clip(np.float32(0.5) + np.float32(0.35) * grain, 0, 1)[..., None]
    dark, light = np.array([[0.13, 0.05, 0.025], [0.44, 0.17, 0.05]], np.float32)
    colour = dark + shade * (light - dark)
    dye = 1 - bloom[..., None] * np.array([0.25, 0.5, 0.75], np.float32)
    relief = np.float32(0.0015) * crust * (1 + np.float32(0.5) * grain)
    return Flaw(
        Change(
            height=relief, dye=dye, cover=crust * np.float32(0.93), cover_albedo=colour
        )
    )


def _random_direction(rng: np.random.Generator) -> np.ndarray:
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(turn), np.sin(turn)])


def stain(rng: np.random.Generator, sheet: Sheet) -> Flaw:
    """A stain of dried coolant, or a heat tint."""
    pigment = stain_pigment(
        rng,
        sheet.x,
        sheet.y,
        centre=random_place(rng).centre,
        radius=random_length(rng, 0.035, 0.13),
    )
    absorbed = np.array(
        ((0.30, 0.30, 0.30), (0.15, 0.32, 0.55), (0.42, 0.33, 0.16))[rng.integers(3)]
    )
    strength = (absorbed * rng.uniform(0.75, 1.3)).astype(np.float32)
    return Flaw(Change(dye=np.maximum(1 - pigment[..., None] * strength, 0.1)))


def cross_brushing(rng: np.random.Generator, sheet: Sheet) -> Flaw:
    """An area that was reworked by hand, in another direction than the rest."""
    place = random_place(rng)
    half_length = random_length(rng, 0.05, 0.16)
    half_width = half_length * float(rng.uniform(0.3, 0.7))
    turn = float(rng.choice([-1, 1]) * rng.uniform(25, 80))
    along, across = part_coordinates(
        sheet.x, sheet.y, shift=place.centre, degrees=sheet.degrees + turn
    )
    size_px = sheet.x.shape[0]
    ends = smooth_noise(rng, (size_px, 1), (1.5, 0))
    row = np.clip(
        ((across + 1) * np.float32(size_px / 2)).astype(np.int32), 0, size_px - 1
    )
    along = along + np.float32(0.12 * half_length) * np.take(ends[:, 0], row)
    edge = box(along, across, half_length, half_width, 0.4 * half_width)
    region = 1 - smoothstep(-0.02, 0.0, edge)
    marks = grooves(rng, size_px, 0.0)
    return Flaw(
        Change(),
        rebrushed=region,
        brushing=np.float32(1.5) * _rotate(marks, sheet.degrees + turn),
        brightness=float(rng.choice([-1, 1]) * rng.uniform(0.10, 0.24)),
    )


def _rotate(marks: Plane, degrees: float) -> Plane:
    """Rotate the marks. Beyond the border, the marks are continued by reflection."""
    from PIL import Image

    size_px = marks.shape[0]
    wide = Image.fromarray(np.pad(marks, size_px // 4, mode="symmetric"))
    turned = np.array(wide.rotate(-degrees, Image.Resampling.BICUBIC), np.float32)
    first = size_px // 4
    return turned[first : first + size_px, first : first + size_px]


_FLAW_MAKERS: dict[str, Callable[[np.random.Generator, Sheet], Flaw]] = {
    "cross_brushing": cross_brushing,
    "dent": dent,
    "rust": rust,
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
    """Radiance of one sheet, before the camera."""
    sheet = random_sheet(int(material.integers(2**63)), size_px)
    return sheet_radiance(
        sheet,
        Flaw(Change()) if defect == "good" else _FLAW_MAKERS[defect](flaw_rng, sheet),
    )


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one sheet, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)
