"""Woven cloth: a 2/2 twill of light warp and dark weft, a little uneven as yarn is."""

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
from datasets.rendered_ad.shapes import pixel_grid, posed, smoothstep, stroke
from datasets.rendered_ad.surface_defects import (
    extent,
    hair,
    puddle,
    soaked,
    somewhere,
)

PITCH = 1 / 44
"""Distance between neighbouring threads, in image widths, as all lengths here."""
THREADS = 96
RELIEF = 0.30 * PITCH
LIGHT = Light(azimuth_degrees=-115, elevation_degrees=50, key=0.7, tent=0.5)
WARP_COLOUR = np.array([0.40, 0.375, 0.33], np.float32)
WEFT_COLOUR = np.array([0.20, 0.205, 0.21], np.float32)
BACKING_COLOUR = np.array([0.05, 0.046, 0.042], np.float32)
FOREIGN_COLOURS = ((0.42, 0.07, 0.05), (0.05, 0.12, 0.38), (0.66, 0.62, 0.52))
NOWHERE = np.float32(-4 * RELIEF)


class Yarn(NamedTuple):
    """One system of parallel threads: for every pixel its thread and place in it."""

    thread: Int32[np.ndarray, "h w"]
    across: Plane
    """Place across the thread in pitches, -0.5 to 0.5."""
    along: Plane
    """Place along the thread in pitches."""
    half_width: Plane
    tone: Plane


class Cloth(NamedTuple):
    """A cut of cloth as it lies under the camera, before anything happens to it."""

    x: Plane
    y: Plane
    u: Plane
    """Across the warp, in pitches."""
    v: Plane
    """Across the weft, in pitches."""
    tones: Float32[np.ndarray, "2 n"]
    widths: Float32[np.ndarray, "2 n"]
    slubs: tuple[Plane, Plane]
    """Thick and thin places along warp and weft."""
    fibre: Plane
    light: Light


class Flaw(NamedTuple):
    """What a defect does to the cloth before it is lit."""

    shift_v: Plane | float = 0.0
    """Displacement of the weft in pitches."""
    warp_gone: Bool[np.ndarray, "h w"] | None = None
    weft_gone: Bool[np.ndarray, "h w"] | None = None
    lift: Plane | float = 0.0
    """Added height."""
    dye: Radiance | float = 1.0
    warp_dye: Radiance | float = 1.0
    weft_dye: Radiance | float = 1.0
    """Factors on the albedo of all yarn, of the warp, of the weft."""
    strands: Plane | None = None
    """How much of a pixel loose yarn covers that lies on top."""


@functools.lru_cache(maxsize=1)
def cut_of_cloth(seed: int, size_px: int) -> Cloth:
    """Another piece of the same cloth: laid down anew, woven a little differently.

    Kept until the next one, for a piece is drawn without and with its defect.
    """
    rng = np.random.default_rng(seed)
    x, y = pixel_grid(size_px)
    shift = rng.uniform(-PITCH * 4, PITCH * 4, 2)
    turned_x, turned_y = posed(
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
    """Index of the thread that runs at a place given in pitches."""
    return np.clip(np.floor(across).astype(np.int32) + THREADS // 2, 0, THREADS - 1)


def warp_is_over(
    warp: Int32[np.ndarray, "h w"], weft: Int32[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """The weave: 2/2 twill."""
    return ((warp - weft) & 3) < 2


def rise(own: Yarn, other: Yarn, over: np.ndarray, over_next: np.ndarray) -> Plane:
    """Height of a thread's middle line in [-1, 1]; 0 where it passes between two."""
    side = np.where(over, np.float32(1), np.float32(-1))
    return np.where(
        over == over_next, side, side * np.cos(np.float32(np.pi) * other.across)
    )


def profile(own: Yarn, middle: Plane) -> Plane:
    """Height of a thread's surface; NOWHERE beside it."""
    t = own.across / own.half_width
    round_top = np.sqrt(np.maximum(1 - t * t, 0))
    height = np.float32(RELIEF) * (np.float32(0.6) * middle + round_top)
    return np.where(np.abs(t) < 1, height, NOWHERE)


def twist(own: Yarn) -> Plane:
    """Tone of the plied strands that wind around a thread."""
    phase = own.along * np.float32(1.7) + own.across * np.float32(1.1)
    return 1 + np.float32(0.13) * np.sin(np.float32(2 * np.pi) * phase)


def woven(cloth: Cloth, flaw: Flaw) -> Radiance:
    """The cloth with what happened to it, lit."""
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
        albedo = _with_strands(albedo, flaw.strands)
    sky = np.float32(0.15) + np.float32(0.85) * smoothstep(
        -1.6 * RELIEF, 1.3 * RELIEF, height
    )
    height = ndimage.gaussian_filter(height + flaw.lift, 0.9, truncate=2.5)
    return raking_light(height, albedo, cloth.light, sky=sky)


def _with_strands(albedo: Radiance, strands: Plane) -> Radiance:
    """Loose yarn laid over the cloth, and the shadow that it casts."""
    off_px = max(1, round(0.25 * PITCH * strands.shape[0]))
    shadow = np.roll(strands, (off_px, off_px // 2), (0, 1))
    albedo = albedo * (1 - np.float32(0.65) * shadow)[..., None]
    return albedo + strands[..., None] * (WARP_COLOUR - albedo)


def _strands(cloth: Cloth, paths: list[Path]) -> Plane:
    strands = np.zeros_like(cloth.x)
    softness = np.float32(0.6 * cloth.x.shape[1])
    for path in paths:
        distance = stroke(cloth.x, cloth.y, path.points, path.half_widths)
        np.maximum(strands, np.clip(0.5 - distance * softness, 0, 1), out=strands)
    return strands


def hole(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """Threads torn off around a place, each at a different length."""
    radius = extent(rng, 0.025, 0.085)
    centre = somewhere(rng).centre
    distance = puddle(rng, cloth.x, cloth.y, centre=centre, radius=radius)
    ends = []
    for turn in rng.uniform(0, 2 * np.pi, rng.integers(3, 9)):
        start = np.array(centre) + radius * np.array([np.cos(turn), np.sin(turn)])
        ends.append(
            hair(
                rng,
                start=(float(start[0]), float(start[1])),
                heading=turn + np.pi + rng.normal(0, 0.6),
                length=radius * float(rng.uniform(0.5, 1.3)),
                half_width=PITCH * float(rng.uniform(0.04, 0.12)),
            )
        )
    return _torn(rng, cloth, distance, fray=min(0.45 * radius, 0.018), ends=ends)


def cut(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A blade's slit, gaping in the middle, across the threads."""
    place = somewhere(rng, reach=0.30)
    path = scratch_path(
        rng,
        centre=place.centre,
        length=extent(rng, 0.12, 0.5),
        half_width=float(rng.uniform(0.007, 0.016)),
        heading=place.heading,
    )
    gape = np.sin(np.linspace(0.12, np.pi - 0.12, len(path.half_widths)))
    half_widths = path.half_widths.max() * gape
    distance = stroke(cloth.x, cloth.y, path.points, half_widths)
    ends = [
        hair(
            rng,
            start=(float(point[0]), float(point[1])),
            heading=float(rng.uniform(0, 2 * np.pi)),
            length=float(rng.uniform(0.015, 0.035)),
            half_width=PITCH * float(rng.uniform(0.04, 0.10)),
        )
        for point in path.points[rng.integers(3, 12, rng.integers(2, 6))]
    ]
    return _torn(rng, cloth, distance, fray=0.005, ends=ends)


def _torn(
    rng: np.random.Generator,
    cloth: Cloth,
    distance: Plane,
    *,
    fray: float,
    ends: list[Path],
) -> Flaw:
    """Threads end where the distance is below 0, give or take `fray`, and curl up."""
    jitter = np.float32(fray) * rng.uniform(-1, 1, (2, THREADS)).astype(np.float32)
    warp_edge = distance + np.take(jitter[0], thread_at(cloth.u))
    weft_edge = distance + np.take(jitter[1], thread_at(cloth.v))
    curl = np.float32(0.9 * RELIEF) * (1 - smoothstep(0, 1.1 * PITCH, distance))
    return Flaw(
        warp_gone=warp_edge < 0,
        weft_gone=weft_edge < 0,
        lift=curl,
        strands=_strands(cloth, ends),
    )


def _span(rng: np.random.Generator, along: Plane, smallest: float) -> np.ndarray:
    """Part of a thread's length, in pitches; half of the time it leaves the image."""
    length = extent(rng, smallest, 1.0)
    middle = rng.uniform(-0.3, 0.3)
    return np.abs(along - np.float32(middle / PITCH)) < length / 2 / PITCH


def _some_threads(
    rng: np.random.Generator, cloth: Cloth, system: int, smallest: float
) -> Bool[np.ndarray, "h w"]:
    """One or two neighbouring threads over a length of at least `smallest`."""
    across, along = (cloth.u, cloth.v) if system == 0 else (cloth.v, cloth.u)
    reach = round(0.38 / PITCH)
    first = THREADS // 2 + int(rng.integers(-reach, reach))
    beyond = first + int(rng.integers(1, 3))
    thread = thread_at(across)
    return (thread >= first) & (thread < beyond) & _span(rng, along, smallest)


def missing_thread(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A broken pick or end: one or two threads are absent for a length."""
    system = int(rng.integers(0, 2))
    gone = _some_threads(rng, cloth, system, 0.25)
    return Flaw(warp_gone=gone) if system == 0 else Flaw(weft_gone=gone)


def foreign_thread(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A thread of another colour woven in for a length."""
    system = int(rng.integers(0, 2))
    chosen = _some_threads(rng, cloth, system, 0.2)
    wanted = np.array(FOREIGN_COLOURS[rng.integers(len(FOREIGN_COLOURS))], np.float32)
    base = WARP_COLOUR if system == 0 else WEFT_COLOUR
    share = np.float32(rng.uniform(0.5, 1.0))
    dye = np.where(chosen[..., None], 1 - share + share * wanted / base, np.float32(1))
    return Flaw(warp_dye=dye) if system == 0 else Flaw(weft_dye=dye)


def pulled_thread(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A snag: one pick is drawn out into a loop, its neighbours close up, puckered."""
    place = somewhere(rng)
    length = extent(rng, 0.12, 0.45)
    middle_u, middle_v = np.asarray(place.centre, np.float32) / np.float32(PITCH)
    along = (cloth.u - middle_u) * np.float32(2 * PITCH / length)
    off = (cloth.v - middle_v) * np.float32(1 / 4.0)
    fading = np.clip(1 - along * along, 0, 1)
    bump = fading * np.clip(1 - off * off, 0, 1) ** 2
    shift_v = np.float32(rng.uniform(1.0, 1.8) * rng.choice([-1, 1])) * bump
    ridge = np.clip(1 - 4 * off * off, 0, 1) ** 2 * fading
    tight = THREADS // 2 + int(np.floor(middle_v))
    gone = (thread_at(cloth.v + shift_v) == tight) & (np.abs(along) < 0.85)
    loop = hair(
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
        strands=_strands(cloth, [loop]),
    )


def stain(rng: np.random.Generator, cloth: Cloth) -> Flaw:
    """A dried spill: oil, coffee or ink."""
    radius = extent(rng, 0.035, 0.14)
    centre = somewhere(rng).centre
    pigment = soaked(rng, cloth.x, cloth.y, centre=centre, radius=radius)
    absorbed = np.array(
        ((0.45, 0.5, 0.6), (0.3, 0.5, 0.75), (0.75, 0.65, 0.35))[rng.integers(3)]
    )
    strength = absorbed * rng.uniform(0.75, 1.15)
    return Flaw(
        dye=np.maximum(1 - pigment[..., None] * strength.astype(np.float32), 0.06)
    )


_MAKE: dict[str, Callable[[np.random.Generator, Cloth], Flaw]] = {
    "cut": cut,
    "foreign_thread": foreign_thread,
    "hole": hole,
    "missing_thread": missing_thread,
    "pulled_thread": pulled_thread,
    "stain": stain,
}
DEFECTS = tuple(_MAKE)


def draw(
    material: np.random.Generator,
    flaw_rng: np.random.Generator,
    defect: str,
    size_px: int,
) -> Radiance:
    """A cut of cloth under the lamp, before the camera."""
    cloth = cut_of_cloth(int(material.integers(2**63)), size_px)
    flaw = Flaw() if defect == "good" else _MAKE[defect](flaw_rng, cloth)
    return woven(cloth, flaw)


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """A photograph of the cloth and the exact mask of its defect.

    `defect` is "good" or one of `DEFECTS`; a `ValueError` names them otherwise.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)
