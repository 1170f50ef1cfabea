"""Woven cloth: a 2/2 twill of light warp and dark weft, of slightly uneven yarn."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from scipy import ndimage

from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.noise import Plane, fractal_noise, smooth_noise
from datasets.rendered_ad.part_defects import Path, scratch_path
from datasets.rendered_ad.raking_light import raking_light
from datasets.rendered_ad.shading import Light, Radiance
from datasets.rendered_ad.shapes import part_coordinates, pixel_grid, smoothstep, stroke
from datasets.rendered_ad.surface_defects import (
    loose_fibre,
    puddle,
    random_length,
    random_place,
    stain_pigment,
)

PITCH = 1 / 44
"""Distance between neighbouring threads. Lengths in this file are in image widths."""
THREADS = 96
RELIEF = 0.30 * PITCH
LIGHT = Light(azimuth_degrees=-115, elevation_degrees=50, key=0.7, tent=0.5)
WARP_COLOUR = np.array([0.40, 0.375, 0.33], np.float32)
WEFT_COLOUR = np.array([0.20, 0.205, 0.21], np.float32)
BACKING_COLOUR = np.array([0.05, 0.046, 0.042], np.float32)
FOREIGN_COLOURS = ((0.42, 0.07, 0.05), (0.05, 0.12, 0.38), (0.66, 0.62, 0.52))
NOWHERE = np.float32(-4 * RELIEF)


class Yarn(NamedTuple):
    """The warp or the weft: the thread of every pixel, and the position in it."""

    thread: Int32[np.ndarray, "h w"]
    across: Plane
    """Position across the thread in pitches, from -0.5 to 0.5."""
    along: Plane
    """Position along the thread in pitches."""
    half_width: Plane
    tone: Plane


class Cloth(NamedTuple):
    """A piece of good cloth under the camera."""

    x: Plane
    y: Plane
    u: Plane
    """Position across the warp, in pitches."""
    v: Plane
    """Position across the weft, in pitches."""
    tones: Float32[np.ndarray, "2 n"]
    widths: Float32[np.ndarray, "2 n"]
    slubs: tuple[Plane, Plane]
    """Noise that makes warp and weft thicker and thinner along their length."""
    fibre: Plane
    light: Light


class Flaw(NamedTuple):
    """Changes that a defect makes to the cloth before lighting."""

    shift_v: Plane | float = 0.0
    """Displacement of the weft in pitches."""
    warp_gone: Bool[np.ndarray, "h w"] | None = None
    weft_gone: Bool[np.ndarray, "h w"] | None = None
    lift: Plane | float = 0.0
    """Added height."""
    dye: Radiance | float = 1.0
    warp_dye: Radiance | float = 1.0
    weft_dye: Radiance | float = 1.0
    """The three dyes are factors on the albedo of all yarn, the warp and the weft."""
    strands: Plane | None = None
    """Share of every pixel that is covered by loose yarn on top."""


@functools.lru_cache(maxsize=1)
def random_cloth(seed: int, size_px: int) -> Cloth:
    """A random piece of the cloth, with its position, rotation and irregularities.

    The last piece is cached, because it is drawn without and with its defect.
    """
    rng = np.random.default_rng(seed)
    x, y = pixel_grid(size_px)
    shift = rng.uniform(-PITCH * 4, PITCH * 4, 2)
    turned_x, turned_y = part_coordinates(
        x, y, shift=(shift[0], shift[1]), degrees=float(rng.normal(0, 1.6))
    )
    shape, px = (size_px, size_px), PITCH * size_px
    scale = np.float32((1 + rng.normal(0, 0.008)) / PITCH)
    u, v = turned_x * scale, turned_y * scale
    u += np.float32(0.35) * smooth_noise(rng, shape, (9 * px, 5 * px))
    v += np.float32(0.35) * smooth_noise(rng, shape, (5 * px, 9 * px))
    u += np.float32(0.045) * smooth_noise(rng, shape, (1.6 * px, 0.5 * px))
    v += np.float32(0.045) * smooth_noise(rng, shape, (0.5 * px, 1.6 * px))
    tones = 1 + np.float32(0.05) * rng.standard_normal((2, THREADS), np.float32)
    tones *= np.float32(1 + rng.normal(0, 0.025))
    widths = 0.47 + np.float32(0.018) * rng.standard_normal((2, THREADS), np.float32)
    slubs = (
        smooth_noise(rng, shape, (1.8 * px, 0.35 * px)),
        smooth_noise(rng, shape, (0.35 * px, 1.8 * px)),
    )
    fibre = fractal_noise(rng, shape, coarsest_px=1.6, octaves=2)
    return Cloth(x, y, u, v, tones, widths, slubs, fibre, LIGHT.varied(rng))


def yarn(cloth: Cloth, flaw: Flaw, system: int) -> Yarn:
    """The warp (system 0) or the weft (system 1)."""
    v = cloth.v + flaw.shift_v
    across, along = (cloth.u, v) if system == 0 else (v, cloth.u)
    thread = thread_at(across)
    slub = cloth.slubs[system]
    return Yarn(
        thread,
        across - np.floor(across) - np.float32(0.5),
        along,
        np.take(cloth.widths[system], thread) * (1 + np.float32(0.06) * slub),
        np.take(cloth.tones[system], thread) * (1 + np.float32(0.035) * slub),
    )


def thread_at(across: Plane) -> Int32[np.ndarray, "h w"]:
    """Index of the thread at a position in pitches."""
    return np.clip(np.floor(across).astype(np.int32) + THREADS // 2, 0, THREADS - 1)


def warp_is_over(
    warp: Int32[np.ndarray, "h w"], weft: Int32[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Whether the warp thread lies over the weft thread, in a 2/2 twill."""
    return ((warp - weft) & 3) < 2


def rise(own: Yarn, other: Yarn, over: np.ndarray, over_next: np.ndarray) -> Plane:
    """Height of a thread's centre line in [-1, 1]; 0 where it changes sides."""
    side = np.where(over, np.float32(1), np.float32(-1))
    return np.where(
        over == over_next, side, side * np.cos(np.float32(np.pi) * other.across)
    )


def profile(own: Yarn, middle: Plane) -> Plane:
    """Height of a thread's surface; `NOWHERE` beside the thread."""
    t = own.across / own.half_width
    round_top = np.sqrt(np.maximum(1 - t * t, 0))
    height = np.float32(RELIEF) * (np.float32(0.6) * middle + round_top)
    return np.where(np.abs(t) < 1, height, NOWHERE)


def twist(own: Yarn) -> Plane:
    """Brightness factor of the strands that are twisted into a thread."""
    phase = own.along * np.float32(1.7) + own.across * np.float32(1.1)
    return 1 + np.float32(0.13) * np.sin(np.float32(2 * np.pi) * phase)


def cloth_radiance(cloth: Cloth, flaw: Flaw) -> Radiance:
    """Radiance of the cloth with a flaw."""
    warp, weft = yarn(cloth, flaw, 0), yarn(cloth, flaw, 1)
    over = warp_is_over(warp.thread, weft.thread)
    next_weft = weft.thread + np.where(weft.across > 0, np.int32(1), np.int32(-1))
    next_warp = warp.thread + np.where(warp.across > 0, np.int32(1), np.int32(-1))
    warp_top = profile(
        warp, rise(warp, weft, over, warp_is_over(warp.thread, next_weft))
    )
    weft_top = profile(
        weft, rise(weft, warp, ~over, ~warp_is_over(next_warp, weft.thread))
    )
    if flaw.warp_gone is not None:
        warp_top[flaw.warp_gone] = NOWHERE
    if flaw.weft_gone is not None:
        weft_top[flaw.weft_gone] = NOWHERE
    warp_shows = (warp_top >= weft_top)[..., None]
    height = np.maximum(np.maximum(warp_top, weft_top), np.float32(-2.2 * RELIEF))
    warp_tone = (warp.tone * twist(warp))[..., None] * WARP_COLOUR * flaw.warp_dye
    weft_tone = (weft.tone * twist(weft))[..., None] * WEFT_COLOUR * flaw.weft_dye
    albedo = np.where(warp_shows, warp_tone, weft_tone) * flaw.dye
    albedo *= (1 + np.float32(0.09) * cloth.fibre)[..., None]
    bare = np.maximum(warp_top, weft_top) <= NOWHERE
    albedo[bare] = BACKING_COLOUR
    if flaw.strands is not None:
        height = height + np.float32(1.6 * RELIEF) * flaw.strands
        albedo = _add_strands(albedo, flaw.strands)
    sky = np.float32(0.15) + np.float32(0.85) * smoothstep(
        -1.6 * RELIEF, 1.3 * RELIEF, height
    )
    height = ndimage.gaussian_filter(height + flaw.lift, 0.9, truncate=2.5)
    return raking_light(height, albedo, cloth.light, sky=sky)


def _add_strands(albedo: Radiance, strands: Plane) -> Radiance:
    """The albedo with loose yarn on top, and the shadow of the yarn."""
    off_px = max(1, round(0.25 * PITCH * strands.shape[0]))
    shadow = np.roll(strands, (off_px, off_px // 2), (0, 1))
    albedo = albedo * (1 - np.float32(0.65) * shadow)[..., None]
    return albedo + strands[..., None] * (WARP_COLOUR - albedo)


def _draw_strands(cloth: Cloth, paths: list[Path]) -> Plane:
    strands = np.zeros_like(cloth.x)
    softness = np.float32(0.6 * cloth.x.shape[1])
    for path in paths:
        distance = stroke(cloth.x, cloth.y, path.points, path.half_widths)
        np.maximum(strands, np.clip(0.5 - distance * softness, 0, 1), out=strands)
    return strands


def hole(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A hole: threads torn off at different lengths, with loose ends."""
    radius = random_length(rng, 0.025, 0.085)
    centre = random_place(rng).centre
    distance = puddle(rng, cloth.x, cloth.y, centre=centre, radius=radius)
    ends = []
    for turn in rng.uniform(0, 2 * np.pi, rng.integers(3, 9)):
        start = np.array(centre) + radius * np.array([np.cos(turn), np.sin(turn)])
        ends.append(
            loose_fibre(
                rng,
                start=(float(start[0]), float(start[1])),
                heading=turn + np.pi + rng.normal(0, 0.6),
                length=radius * float(rng.uniform(0.5, 1.3)),
                half_width=PITCH * float(rng.uniform(0.04, 0.12)),
            )
        )
    return _tear(rng, cloth, distance, fray=min(0.45 * radius, 0.018), ends=ends)


def cut(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A slit made by a blade, wider in the middle."""
    place = random_place(rng, reach=0.30)
    path = scratch_path(
        rng,
        centre=place.centre,
        length=random_length(rng, 0.12, 0.5),
        half_width=float(rng.uniform(0.007, 0.016)),
        heading=place.heading,
    )
    gape = np.sin(np.linspace(0.12, np.pi - 0.12, len(path.half_widths)))
    half_widths = path.half_widths.max() * gape
    distance = stroke(cloth.x, cloth.y, path.points, half_widths)
    ends = [
        loose_fibre(
            rng,
            start=(float(point[0]), float(point[1])),
            heading=float(rng.uniform(0, 2 * np.pi)),
            length=float(rng.uniform(0.015, 0.035)),
            half_width=PITCH * float(rng.uniform(0.04, 0.10)),
        )
        for point in path.points[rng.integers(3, 12, rng.integers(2, 6))]
    ]
    return _tear(rng, cloth, distance, fray=0.005, ends=ends)


def _tear(
    rng: np.random.Generator,
    cloth: Cloth,
    distance: Plane,
    *,
    fray: float,
    ends: list[Path],
) -> Flaw:
    """Remove threads where the distance is below 0, +-`fray`; lift their ends."""
    jitter = np.float32(fray) * rng.uniform(-1, 1, (2, THREADS)).astype(np.float32)
    warp_edge = distance + np.take(jitter[0], thread_at(cloth.u))
    weft_edge = distance + np.take(jitter[1], thread_at(cloth.v))
    curl = np.float32(0.9 * RELIEF) * (1 - smoothstep(0, 1.1 * PITCH, distance))
    return Flaw(
        warp_gone=warp_edge < 0,
        weft_gone=weft_edge < 0,
        lift=curl,
        strands=_draw_strands(cloth, ends),
    )


def _span(rng: np.random.Generator, along: Plane, smallest: float) -> np.ndarray:
    """Mask of a random section of the threads, at least `smallest` long.

    About half of these sections extend beyond the image.
    """
    length = random_length(rng, smallest, 1.0)
    middle = rng.uniform(-0.3, 0.3)
    return np.abs(along - np.float32(middle / PITCH)) < length / 2 / PITCH


def _some_threads(
    rng: np.random.Generator, cloth: Cloth, system: int, smallest: float
) -> Bool[np.ndarray, "h w"]:
    """Mask of one or two neighbouring threads over a length of at least `smallest`."""
    across, along = (cloth.u, cloth.v) if system == 0 else (cloth.v, cloth.u)
    reach = round(0.38 / PITCH)
    first = THREADS // 2 + int(rng.integers(-reach, reach))
    beyond = first + int(rng.integers(1, 3))
    thread = thread_at(across)
    return (thread >= first) & (thread < beyond) & _span(rng, along, smallest)


def missing_thread(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """One or two neighbouring threads missing over some length."""
    system = int(rng.integers(0, 2))
    gone = _some_threads(rng, cloth, system, 0.25)
    return Flaw(warp_gone=gone) if system == 0 else Flaw(weft_gone=gone)


def foreign_thread(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """One or two threads of another colour over some length."""
    system = int(rng.integers(0, 2))
    chosen = _some_threads(rng, cloth, system, 0.2)
    wanted = np.array(FOREIGN_COLOURS[rng.integers(len(FOREIGN_COLOURS))], np.float32)
    base = WARP_COLOUR if system == 0 else WEFT_COLOUR
    share = np.float32(rng.uniform(0.5, 1.0))
    dye = np.where(chosen[..., None], 1 - share + share * wanted / base, np.float32(1))
    return Flaw(warp_dye=dye) if system == 0 else Flaw(weft_dye=dye)


def pulled_thread(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A snag: a weft thread is pulled into a loop, and the cloth around it puckers."""
    place = random_place(rng)
    length = random_length(rng, 0.12, 0.45)
    middle_u, middle_v = np.asarray(place.centre, np.float32) / np.float32(PITCH)
    along = (cloth.u - middle_u) * np.float32(2 * PITCH / length)
    off = (cloth.v - middle_v) * np.float32(1 / 4.0)
    fading = np.clip(1 - along * along, 0, 1)
    bump = fading * np.clip(1 - off * off, 0, 1) ** 2
    shift_v = np.float32(rng.uniform(1.0, 1.8) * rng.choice([-1, 1])) * bump
    ridge = np.clip(1 - 4 * off * off, 0, 1) ** 2 * fading
    tight = THREADS // 2 + int(np.floor(middle_v))
    gone = (thread_at(cloth.v + shift_v) == tight) & (np.abs(along) < 0.85)
    loop = loose_fibre(
        rng,
        start=place.centre,
        heading=float(rng.uniform(0, 2 * np.pi)),
        length=float(rng.uniform(0.05, 0.13)),
        half_width=0.42 * PITCH,
    )
    return Flaw(
        shift_v=shift_v,
        lift=np.float32(rng.uniform(2.5, 4.5) * RELIEF) * ridge,
        weft_gone=gone,
        strands=_draw_strands(cloth, [loop]),
    )


def stain(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A dried spill: oil, coffee or ink."""
    radius = random_length(rng, 0.035, 0.14)
    centre = random_place(rng).centre
    pigment = stain_pigment(rng, cloth.x, cloth.y, centre=centre, radius=radius)
    absorbed = np.array(
        ((0.45, 0.5, 0.6), (0.3, 0.5, 0.75), (0.75, 0.65, 0.35))[rng.integers(3)]
    )
    strength = absorbed * rng.uniform(0.75, 1.15)
    return Flaw(
        dye=np.maximum(1 - pigment[..., None] * strength.astype(np.float32), 0.06)
    )


_FLAW_MAKERS: dict[str, Callable[[np.random.Generator, Cloth], Flaw]] = {
    "cut": cut,
    "foreign_thread": foreign_thread,
    "hole": hole,
    "missing_thread": missing_thread,
    "pulled_thread": pulled_thread,
    "stain": stain,
}
DEFECTS = tuple(_FLAW_MAKERS)


def draw(
    material: np.random.Generator,
    flaw_rng: np.random.Generator,
    defect: str,
    size_px: int,
) -> Radiance:
    """Radiance of one piece of cloth, before the camera."""
    cloth = random_cloth(int(material.integers(2**63)), size_px)
    flaw = Flaw() if defect == "good" else _FLAW_MAKERS[defect](flaw_rng, cloth)
    return cloth_radiance(cloth, flaw)


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one piece of cloth, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)
