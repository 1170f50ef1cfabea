"""A spur gear that lies flat on a dark mat, at any rotation.

Seen from above, rim and hub were turned on a lathe: their concentric tool marks reflect
light in the shape of a bow tie. The cast web between them is lower. The gear has six
holes and a bore with a keyway. Lengths are in image widths.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from datasets.rendered_ad.gear_blank import (
    BORE_RADIUS,
    ROOT_RADIUS,
    TEETH,
    Blank,
    break_teeth,
    chip_teeth,
    hole_angles,
    openings,
    toothed_disc,
)
from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.part_defects import blotch, crack_path, scratch_path
from datasets.rendered_ad.shading import Light, Radiance, Surface, radiance
from datasets.rendered_ad.shapes import (
    Plane,
    coverage,
    part_coordinates,
    pixel_grid,
    smoothstep,
    stroke,
)
from datasets.rendered_ad.table import grain, soft_noise, table_albedo

DEFECTS = (
    "chipped_tooth",
    "contamination",
    "crack",
    "missing_tooth",
    "scratch",
    "wrong_hole_count",
)

RIM_INNER = 0.268
HUB_RADIUS = 0.128
FACE_HEIGHT = 0.045
WEB_HEIGHT = 0.024
EDGE_ROUNDING = 0.009
LIGHT = Light(
    azimuth_degrees=-125, elevation_degrees=55, key=0.6, tent=0.55, shadow=0.8
)


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one gear, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)


def draw(
    part: np.random.Generator, flaw: np.random.Generator, defect: str, size_px: int
) -> Radiance:
    """Scene radiance of one gear.

    The generator `part` determines the gear, the pose and the light. The generator
    `flaw` determines only the defect.
    """
    shift = (float(part.normal(0, 0.006)), float(part.normal(0, 0.006)))
    degrees = float(part.uniform(0, 360))
    light = LIGHT.varied(part)
    x, y = part_coordinates(*pixel_grid(size_px), shift=shift, degrees=degrees)
    toothed, tooth = toothed_disc(x, y)
    broken = np.zeros(x.shape, bool)
    if defect == "missing_tooth":
        toothed, broken = break_teeth(flaw, x, y, toothed, tooth)
    if defect == "chipped_tooth":
        toothed, broken = chip_teeth(flaw, x, y, toothed, tooth)
    holes = hole_angles(flaw if defect == "wrong_hole_count" else None)
    blank = Blank(x, y, np.hypot(x, y), np.maximum(toothed, -openings(x, y, holes)))
    surface = gear_surface(part, blank, light, degrees, size_px)
    if broken.any():
        surface = expose_fracture(flaw, surface, broken, size_px)
    if defect == "crack":
        surface = add_crack(flaw, blank, surface, size_px)
    if defect == "scratch":
        surface = add_scratches(flaw, blank, surface, size_px)
    if defect == "contamination":
        surface = add_contamination(flaw, blank, surface, size_px)
    return radiance(surface, light)


def gear_surface(
    part: np.random.Generator,
    blank: Blank,
    light: Light,
    degrees: float,
    size_px: int,
) -> Surface:
    """Surface of the gear on the mat, with small random differences."""
    radius, outside = blank.radius, blank.outside
    web = smoothstep(HUB_RADIUS, HUB_RADIUS + 0.014, radius) * (
        1 - smoothstep(RIM_INNER - 0.014, RIM_INNER, radius)
    )
    near_edge = np.clip(outside + np.float32(EDGE_ROUNDING), 0, EDGE_ROUNDING)
    rounding = near_edge * near_edge * np.float32(1 / EDGE_ROUNDING)
    height = FACE_HEIGHT - (FACE_HEIGHT - WEB_HEIGHT) * web - rounding
    rings = tool_marks(part, radius)
    height += np.float32(2.5e-5) * rings * (1 - web)
    cast = soft_noise(part, size_px, 90)
    height += np.float32(1.4e-4) * cast * web
    on_gear = coverage(outside, size_px)
    steel = np.array([0.54, 0.53, 0.515]) * part.uniform(0.94, 1.06)
    steel = (steel + part.normal(0, 0.006, 3)).astype(np.float32)
    tone = 1 + 0.05 * rings * (1 - web) + 0.03 * soft_noise(part, size_px, 14)
    tone += 0.05 * cast * web - 0.22 * web + 0.025 * grain(part, size_px, 1.0)
    table = table_albedo(part, size_px, (0.052, 0.060, 0.070), contrast=0.10)
    inside = on_gear[..., None]
    albedo = table + (tone[..., None] * steel - table) * inside
    return Surface(
        height=(height * on_gear).astype(np.float32),
        albedo=albedo,
        metal=(on_gear * (1 - 0.35 * web)).astype(np.float32),
        roughness=(0.95 + (0.30 + 0.3 * web - 0.95) * on_gear).astype(np.float32),
        sheen=bow_tie(blank, light, degrees, rings) * on_gear * (1 - 0.85 * web),
    )


def tool_marks(part: np.random.Generator, radius: Plane) -> Plane:
    """Marks of the lathe: noise that depends only on the radius."""
    marks = part.normal(0, 1, 260)
    marks = 0.6 * marks + 0.8 * np.repeat(part.normal(0, 1, 52), 5)
    return np.interp(radius, np.linspace(0, 0.5, 260), marks).astype(np.float32)


def bow_tie(blank: Blank, light: Light, degrees: float, rings: Plane) -> Plane:
    """Sheen of concentric marks: bright where the radius points towards the lamp."""
    azimuth = np.radians(light.azimuth_degrees - degrees)
    across = blank.y * np.float32(np.cos(azimuth)) - blank.x * np.float32(
        np.sin(azimuth)
    )
    off = across / np.maximum(blank.radius, np.float32(1e-3)) * np.float32(1 / 0.30)
    return np.float32(0.85) / (1 + off * off) ** 2 * (1 + np.float32(0.16) * rings)


def expose_fracture(
    flaw: np.random.Generator,
    surface: Surface,
    broken: Bool[np.ndarray, "h w"],
    size_px: int,
) -> Surface:
    """The surface with bright granular metal where a piece broke off."""
    grains = grain(flaw, size_px, 1.2)
    tint = np.array([1.0, 0.98, 0.95], np.float32)
    colour = (0.34 + 0.10 * grains)[..., None] * tint
    drop = np.float32(0.010) + np.float32(0.0015) * grains
    return surface._replace(
        height=np.where(broken, surface.height - drop, surface.height),
        albedo=np.where(broken[..., None], colour, surface.albedo),
        metal=np.where(broken, np.float32(0.4), surface.metal),
        roughness=np.where(broken, np.float32(0.6), surface.roughness),
        sheen=None if surface.sheen is None else surface.sheen * ~broken,
    )


def add_crack(
    flaw: np.random.Generator, blank: Blank, surface: Surface, size_px: int
) -> Surface:
    """The surface with a fatigue crack from a gap between teeth or from the bore."""
    from_bore = flaw.random() < 0.2
    gap = 2 * np.pi * (flaw.integers(0, TEETH) + 0.5) / TEETH
    begin = BORE_RADIUS - 0.002 if from_bore else ROOT_RADIUS + 0.004
    inward = gap if from_bore else gap + np.pi
    path = crack_path(
        flaw,
        start=(begin * np.cos(gap), begin * np.sin(gap)),
        heading=float(inward + flaw.normal(0, 0.35)),
        length=float(flaw.uniform(0.15, 0.30)),
        half_width=float(flaw.uniform(0.0036, 0.0064)),
    )
    gape = coverage(stroke(blank.x, blank.y, *path), size_px)
    gape *= coverage(blank.outside, size_px)
    dark = 1 - np.float32(flaw.uniform(0.8, 0.97)) * gape
    return surface._replace(
        height=surface.height - np.float32(0.004) * gape,
        albedo=surface.albedo * dark[..., None],
        metal=surface.metal * dark,
        sheen=None if surface.sheen is None else surface.sheen * (1 - gape),
    )


def add_scratches(
    flaw: np.random.Generator, blank: Blank, surface: Surface, size_px: int
) -> Surface:
    """The surface with two to four scratches on the rim or the hub."""
    angle = float(flaw.uniform(0, 2 * np.pi))
    middle = float(flaw.choice([0.30, 0.10], p=[0.75, 0.25]))
    heading = float(flaw.uniform(0, np.pi))
    groove = np.zeros_like(blank.x)
    for _ in range(int(flaw.integers(2, 5))):
        path = scratch_path(
            flaw,
            centre=(
                middle * np.cos(angle) + float(flaw.normal(0, 0.015)),
                middle * np.sin(angle) + float(flaw.normal(0, 0.015)),
            ),
            length=float(flaw.uniform(0.14, 0.26)),
            half_width=float(flaw.uniform(0.0020, 0.0034)),
            heading=heading + float(flaw.normal(0, 0.1)),
        )
        groove = np.maximum(groove, coverage(stroke(blank.x, blank.y, *path), size_px))
    groove *= coverage(blank.outside, size_px)
    cut = float(flaw.choice([0.5, -0.45]))
    sheen = np.zeros_like(groove) if surface.sheen is None else surface.sheen
    return surface._replace(
        height=surface.height - np.float32(0.0010) * groove,
        albedo=surface.albedo * (1 + np.float32(cut) * groove)[..., None],
        sheen=sheen * (1 - groove) + np.float32(max(0.6 * cut, 0)) * groove,
    )


def add_contamination(
    flaw: np.random.Generator, blank: Blank, surface: Surface, size_px: int
) -> Surface:
    """The surface with a smear of dark grease, or with a bright curled metal chip."""
    angle, middle = float(flaw.uniform(0, 2 * np.pi)), float(flaw.uniform(0.12, 0.36))
    centre = (middle * np.cos(angle), middle * np.sin(angle))
    if flaw.random() < 0.6:
        return add_grease(flaw, blank, surface, centre, size_px)
    turns = np.linspace(0, float(flaw.uniform(2.5, 5.0)) * np.pi, 60)
    curl = float(flaw.uniform(0.012, 0.024)) * (1 + 0.05 * turns)
    drift = np.outer(turns, flaw.normal(0, 0.005, 2))
    points = np.asarray(centre) + drift
    points += np.stack([curl * np.cos(turns), curl * np.sin(turns)], axis=1)
    half_width = float(flaw.uniform(0.0026, 0.0045))
    distance = stroke(blank.x, blank.y, points, np.full(turns.size, half_width))
    chip = coverage(distance, size_px)
    lift = np.float32(0.016) * np.sqrt(np.clip(-distance / half_width, 0, 1))
    ground = np.maximum(surface.height, np.float32(0.01))
    steel = np.array([0.72, 0.66, 0.55], np.float32)
    return surface._replace(
        height=surface.height * (1 - chip) + (ground + lift) * chip,
        albedo=surface.albedo + (steel - surface.albedo) * chip[..., None],
        metal=np.maximum(surface.metal, chip),
        roughness=surface.roughness + (0.25 - surface.roughness) * chip,
        sheen=None if surface.sheen is None else surface.sheen * (1 - chip),
    )


def add_grease(
    flaw: np.random.Generator,
    blank: Blank,
    surface: Surface,
    centre: tuple[float, float],
    size_px: int,
) -> Surface:
    """The surface with a patch of old grease: brown or black, and glossy."""
    size = float(flaw.uniform(0.024, 0.075))
    patch = blotch(flaw, blank.x, blank.y, centre=centre, radius=size, raggedness=0.14)
    film = 1 - smoothstep(-0.3 * size, 0.06 * size, patch)
    film *= coverage(blank.outside, size_px) * np.float32(flaw.uniform(0.85, 0.97))
    lumps = np.float32(0.0016) * (soft_noise(flaw, size_px, 34) + 1.5)
    brown = np.array([[0.070, 0.040, 0.018], [0.018, 0.017, 0.016]], np.float32)[
        flaw.integers(0, 2)
    ]
    return surface._replace(
        height=surface.height + lumps * film,
        albedo=surface.albedo + (brown - surface.albedo) * film[..., None],
        metal=surface.metal * (1 - film),
        roughness=surface.roughness + (0.16 - surface.roughness) * film,
        sheen=None if surface.sheen is None else surface.sheen * (1 - film),
    )
