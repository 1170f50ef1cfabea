"""A hexagon-head bolt that lies on its side, with its head to the left.

Bolt coordinates: u along the axis, v across it, z towards the camera. The head is a
hexagonal prism cut by the cone of the chamfer. The thread is a helix on a cylinder. The
rendered surface is the upper envelope of both.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from datasets.rendered_ad.bolt_solid import (
    CORNER_RADIUS,
    HEAD,
    SHANK_RADIUS,
    THREAD,
    Pose,
    bend_shank,
    chip_head,
    crush_thread,
    half_round,
    head_height,
    remove_thread,
    shank_radius,
)
from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.part_defects import blotch, scratch_path
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
    "bent",
    "chipped_head",
    "damaged_thread",
    "missing_thread",
    "rust",
    "scratch",
)

AXIS_HEIGHT = 0.11
LIGHT = Light(
    azimuth_degrees=-105, elevation_degrees=58, key=0.55, tent=0.55, shadow=0.16
)


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one bolt, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)


def draw(
    part: np.random.Generator, flaw: np.random.Generator, defect: str, size_px: int
) -> Radiance:
    """Scene radiance of one bolt.

    The generator `part` determines the bolt, the pose and the light. The generator
    `flaw` determines only the defect.
    """
    pose = Pose(
        shift=(float(part.normal(0, 0.006)), float(part.normal(0, 0.008))),
        degrees=float(part.normal(0, 2.0)),
        roll=float(part.uniform(-0.12, 0.12)),
        thread_start=float(part.uniform(0, 1)),
    )
    u, v = part_coordinates(
        *pixel_grid(size_px), shift=pose.shift, degrees=pose.degrees
    )
    if defect == "bent":
        v = bend_shank(flaw, u, v)
    radius = shank_radius(u, v, pose)
    if defect == "missing_thread":
        radius = remove_thread(flaw, u, radius)
    if defect == "damaged_thread":
        radius = crush_thread(flaw, u, v, radius)
    z = np.maximum(head_height(u, v, pose.roll), half_round(v, radius))
    fracture = None
    if defect == "chipped_head":
        z, fracture = chip_head(flaw, u, v, z, size_px)
    on_bolt = z > 0
    surface = metal_surface(part, z, size_px)
    if fracture is not None:
        surface = expose_fracture(flaw, surface, fracture, size_px)
    if defect == "rust":
        surface = add_rust(flaw, u, v, surface, on_bolt, size_px)
    if defect == "scratch":
        surface = add_scratches(flaw, u, v, surface, on_bolt, size_px)
    return radiance(surface, LIGHT.varied(part))


def metal_surface(part: np.random.Generator, z: Plane, size_px: int) -> Surface:
    """Zinc-plated steel on a grey table, with small random differences."""
    table = table_albedo(part, size_px, (0.50, 0.51, 0.52))
    zinc = np.array([0.62, 0.63, 0.645]) * part.uniform(0.93, 1.05)
    zinc += part.normal(0, 0.008, 3)
    mottle = 1 + 0.035 * soft_noise(part, size_px, 40) + 0.02 * grain(part, size_px, 1)
    bumps = np.float32(6e-5) * grain(part, size_px, 1.5)
    bumps += np.float32(1.0e-4) * soft_noise(part, size_px, 60)
    on_bolt = z > 0
    metal = on_bolt.astype(np.float32)
    albedo = np.where(
        on_bolt[..., None], mottle[..., None] * zinc.astype(np.float32), table
    )
    roughness = np.float32(part.uniform(0.24, 0.32)) + 0.04 * soft_noise(
        part, size_px, 24
    )
    return Surface(
        height=np.where(on_bolt, z + np.float32(AXIS_HEIGHT) + bumps, 0),
        albedo=albedo.astype(np.float32),
        metal=metal,
        roughness=np.where(on_bolt, np.clip(roughness, 0.1, 1), 0.95).astype(
            np.float32
        ),
    )


def expose_fracture(
    flaw: np.random.Generator,
    surface: Surface,
    fracture: Bool[np.ndarray, "h w"],
    size_px: int,
) -> Surface:
    """The surface with grey unplated metal where a piece broke off."""
    bare = fracture & (surface.metal > 0)
    grey = np.float32(flaw.uniform(0.30, 0.46)) + 0.06 * grain(flaw, size_px, 1.0)
    colour = grey[..., None] * np.array([1.0, 0.98, 0.95], np.float32)
    return surface._replace(
        albedo=np.where(bare[..., None], colour, surface.albedo).astype(np.float32),
        metal=np.where(bare, np.float32(0.35), surface.metal),
        roughness=np.where(bare, np.float32(0.6), surface.roughness),
    )


def add_rust(
    flaw: np.random.Generator,
    u: Plane,
    v: Plane,
    surface: Surface,
    on_bolt: Bool[np.ndarray, "h w"],
    size_px: int,
) -> Surface:
    """The surface with one to three patches of red-brown rust, pitted and dull."""
    amount = np.zeros_like(u)
    fringe = soft_noise(flaw, size_px, 60)
    centre_u = float(flaw.uniform(HEAD[0] + 0.03, THREAD[1] - 0.05))
    half = CORNER_RADIUS if centre_u < HEAD[1] else SHANK_RADIUS
    centre_v = float(flaw.uniform(-0.7, 0.7)) * half
    radius = float(flaw.uniform(0.016, 0.055))
    for _ in range(int(flaw.integers(1, 4))):
        patch = blotch(
            flaw, u, v, centre=(centre_u, centre_v), radius=radius, raggedness=0.2
        )
        patch += np.float32(0.22 * radius) * fringe
        amount = np.maximum(amount, 1 - smoothstep(-0.35 * radius, 0.2 * radius, patch))
        centre_u += float(flaw.normal(0, 1.6 * radius))
        centre_v = float(np.clip(centre_v + flaw.normal(0, radius), -half, half))
        radius *= float(flaw.uniform(0.4, 0.8))
    pits = grain(flaw, size_px, 2.0)
    amount *= np.clip(0.85 + 0.3 * pits, 0, 1) * on_bolt * flaw.uniform(0.75, 1.0)
    brown = np.array([0.23, 0.085, 0.03], np.float32)
    colour = brown * (1 + 0.35 * soft_noise(flaw, size_px, 50) + 0.2 * pits)[..., None]
    mixed = amount[..., None].astype(np.float32)
    return surface._replace(
        height=surface.height + np.float32(7e-4) * amount * (pits + 1),
        albedo=surface.albedo * (1 - mixed) + np.maximum(colour, 0.01) * mixed,
        metal=(surface.metal * (1 - amount)).astype(np.float32),
        roughness=(surface.roughness * (1 - amount) + 0.9 * amount).astype(np.float32),
    )


def add_scratches(
    flaw: np.random.Generator,
    u: Plane,
    v: Plane,
    surface: Surface,
    on_bolt: Bool[np.ndarray, "h w"],
    size_px: int,
) -> Surface:
    """The surface with two to four scratches on the shank or the head."""
    on_head = bool(flaw.integers(0, 2))
    centre_u = float(
        flaw.uniform(-0.39, -0.33) if on_head else flaw.uniform(-0.24, 0.2)
    )
    heading = float(flaw.uniform(0, np.pi))
    groove = np.zeros_like(u)
    for _ in range(int(flaw.integers(2, 5))):
        centre = (
            centre_u + float(flaw.normal(0, 0.015)),
            float(flaw.uniform(-0.5, 0.5)) * SHANK_RADIUS,
        )
        path = scratch_path(
            flaw,
            centre=centre,
            length=float(flaw.uniform(0.09, 0.2)),
            half_width=float(flaw.uniform(0.0020, 0.0036)),
            heading=heading + float(flaw.normal(0, 0.12)),
        )
        groove = np.maximum(groove, coverage(stroke(u, v, *path), size_px))
    groove *= on_bolt
    bare = groove[..., None]
    fresh = np.float32(flaw.choice([1.35, 0.45], p=[0.7, 0.3]))
    return surface._replace(
        height=surface.height - np.float32(0.0012) * groove,
        albedo=surface.albedo * (1 + (fresh - 1) * bare),
        roughness=surface.roughness + (0.5 - surface.roughness) * groove,
    )
