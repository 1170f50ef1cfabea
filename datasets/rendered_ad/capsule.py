"""A two-coloured hard gelatin capsule on a white table, with its print upwards.

The capsule is a solid of revolution. Its coordinates: u along the axis (cap to the
right), v across it, z towards the camera. Lengths are in image widths.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from datasets.rendered_ad.capsule_print import (
    BODY_RADIUS,
    Imprint,
    ink_coverage,
    misprint,
)
from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.part_defects import blotch, crack_path, scratch_path
from datasets.rendered_ad.shading import (
    Light,
    Radiance,
    Surface,
    blur,
    radiance,
)
from datasets.rendered_ad.shapes import (
    Plane,
    coverage,
    part_coordinates,
    pixel_grid,
    smoothstep,
    stroke,
)
from datasets.rendered_ad.table import grain, soft_noise, table_albedo

DEFECTS = ("crack", "dent", "faulty_imprint", "poke", "scratch")

ENDS = (-0.405, 0.405)
CAP_RADIUS = 0.171
CAP_EDGE = -0.035
BODY_END = 0.10
"""Where the body ends inside the cap. Up to here, the shell is double."""
LIGHT = Light(
    azimuth_degrees=-100,
    elevation_degrees=52,
    key=0.55,
    tent=0.50,
    shadow=0.33,
    lamp_half_size=(0.42, 0.10),
    warmth=0.02,
)


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one capsule, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)


def draw(
    part: np.random.Generator, flaw: np.random.Generator, defect: str, size_px: int
) -> Radiance:
    """Scene radiance of one capsule.

    The generator `part` determines the capsule, the pose and the light. The generator
    `flaw` determines only the defect.
    """
    shift = (float(part.normal(0, 0.006)), float(part.normal(0, 0.008)))
    degrees, roll = float(part.normal(0, 2.0)), float(part.uniform(-0.11, 0.11))
    u, v = part_coordinates(*pixel_grid(size_px), shift=shift, degrees=degrees)
    seat = float(part.normal(0, 0.003))
    radius = shell_radius(u, seat)
    z = np.sqrt(np.maximum(radius * radius - v * v, 0))
    if defect == "dent":
        z = add_dent(flaw, u, v, z)
    imprint = Imprint(shift=(float(part.normal(0, 0.003)), 0.0))
    if defect == "faulty_imprint":
        imprint = misprint(flaw, u, v, imprint)
    around = np.arcsin(np.clip(v / np.maximum(radius, np.float32(1e-4)), -1, 1))
    ink = ink_coverage(u, around - np.float32(roll), imprint, size_px)
    surface = capsule_surface(part, u, v, z, ink, seat, size_px)
    if defect == "crack":
        surface = add_crack(flaw, u, v, surface, size_px)
    if defect == "poke":
        surface = add_hole(flaw, u, v, surface, size_px)
    if defect == "scratch":
        surface = add_scratches(flaw, u, v, surface, size_px)
    return radiance(surface, LIGHT.varied(part))


def shell_radius(u: Plane, seat: float) -> Plane:
    """Radius of the closed capsule; 0 beyond its ends. `seat` shifts the cap's edge."""
    edge = np.float32(CAP_EDGE + seat)
    on_cap = smoothstep(float(edge) - 0.002, float(edge) + 0.003, u)
    radius = BODY_RADIUS + (CAP_RADIUS - BODY_RADIUS) * on_cap
    radius += np.float32(0.004) * np.clip(u * np.float32(2.5), -1, 0)
    ring = np.exp(-(((u - edge - np.float32(0.055)) / np.float32(0.007)) ** 2))
    radius -= np.float32(0.0035) * ring
    dome = np.float32(0.16)
    past = np.maximum(np.maximum(u - ENDS[1], ENDS[0] - u) + dome, 0) / dome
    radius *= np.sqrt(np.maximum(1 - past * past * np.sqrt(past), 0))
    return radius.astype(np.float32)


def capsule_surface(
    part: np.random.Generator,
    u: Plane,
    v: Plane,
    z: Plane,
    ink: Plane,
    seat: float,
    size_px: int,
) -> Surface:
    """Surface of the capsule: ivory body and deep red cap, slightly translucent."""
    on_cap = coverage(np.float32(CAP_EDGE + seat) - u, size_px)[..., None]
    ivory = np.array([0.74, 0.66, 0.47]) * part.uniform(0.96, 1.03)
    red = np.array([0.36, 0.028, 0.030]) * part.uniform(0.9, 1.1)
    colour = (ivory + (red - ivory) * on_cap).astype(np.float32)
    double = (u > CAP_EDGE + seat) & (u < BODY_END + seat)
    double = blur(double.astype(np.float32), 0.002 * size_px)
    # Light that leaves near the rim passes through more shell.
    depth = 1 - np.clip(z / np.float32(CAP_RADIUS), 0, 1)
    thickness = 1 + np.float32(0.16) * double + np.float32(0.5) * depth**3
    thickness += np.float32(0.02) * soft_noise(part, size_px, 9)
    colour = np.exp(np.log(colour) * thickness[..., None])
    black = np.array([0.035, 0.033, 0.04], np.float32)
    strength = np.float32(part.uniform(0.82, 0.92)) + 0.06 * grain(part, size_px, 1.2)
    colour += (black - colour) * (ink * np.clip(strength, 0, 1))[..., None]
    table = table_albedo(part, size_px, (0.66, 0.665, 0.66), contrast=0.02)
    on_shell = (z > 0)[..., None]
    waves = np.float32(1.2e-4) * soft_noise(part, size_px, 12)
    waves += np.float32(1.0e-5) * grain(part, size_px, 2.0)
    return Surface(
        height=np.where(z > 0, z + np.float32(BODY_RADIUS) + waves, 0).astype(
            np.float32
        ),
        albedo=np.where(on_shell, colour, table).astype(np.float32),
        metal=np.zeros_like(u),
        roughness=np.where(z > 0, np.float32(0.17) + 0.1 * ink, 0.95).astype(
            np.float32
        ),
    )


def add_dent(flaw: np.random.Generator, u: Plane, v: Plane, z: Plane) -> Plane:
    """The height with a dent: a hollow on top, or a squeezed side."""
    along = np.float32(flaw.uniform(0.035, 0.075))
    centre = np.float32(flaw.uniform(-0.30, 0.30))
    hollow = np.exp(-(((u - centre) / along) ** 2))
    if flaw.random() < 0.5:
        across = np.float32(flaw.uniform(0.035, 0.06))
        middle = np.float32(flaw.uniform(-0.6, 0.6) * BODY_RADIUS)
        hollow *= np.exp(-(((v - middle) / across) ** 2))
        depth = np.float32(flaw.uniform(0.016, 0.034))
        return np.where(z > 0, np.maximum(z - depth * hollow, 1e-4), 0)
    side = float(flaw.choice([-1, 1]))
    depth = np.float32(flaw.uniform(0.018, 0.045))
    flank = smoothstep(0.0, 0.9 * BODY_RADIUS, v * np.float32(side))
    lost = depth * hollow * flank
    limit = CAP_RADIUS - np.float32(1.05) * depth * hollow
    pressed = np.maximum(z - np.float32(0.9) * lost, 1e-4)
    return np.where((z > 0) & (v * np.float32(side) < limit), pressed, 0)


def add_crack(
    flaw: np.random.Generator, u: Plane, v: Plane, surface: Surface, size_px: int
) -> Surface:
    """The surface with a crack of one to three branches, whitened along the gap."""
    centre = (float(flaw.uniform(-0.30, 0.30)), float(flaw.uniform(-0.09, 0.09)))
    heading = float(flaw.uniform(0, 2 * np.pi))
    half_width = float(flaw.uniform(0.0026, 0.0052))
    distance = np.full_like(u, 1.0)
    for branch in range(int(flaw.integers(1, 4))):
        path = crack_path(
            flaw,
            start=centre,
            heading=heading + 2.2 * branch + float(flaw.normal(0, 0.3)),
            length=float(flaw.uniform(0.07, 0.18)),
            half_width=half_width * (1 if branch == 0 else 0.7),
        )
        distance = np.minimum(distance, stroke(u, v, *path))
    shell = surface.height > 0
    gap = coverage(distance, size_px) * shell
    whitened = np.exp(-np.maximum(distance, 0) / np.float32(0.004)) * shell * (1 - gap)
    albedo = surface.albedo + (0.75 - surface.albedo) * (0.35 * whitened)[..., None]
    inside = np.array([0.045, 0.035, 0.028], np.float32)
    return surface._replace(
        height=surface.height + np.float32(0.0012) * whitened - 0.006 * gap,
        albedo=albedo + (inside - albedo) * (0.95 * gap)[..., None],
        roughness=surface.roughness + (0.8 - surface.roughness) * gap,
    )


def add_hole(
    flaw: np.random.Generator, u: Plane, v: Plane, surface: Surface, size_px: int
) -> Surface:
    """The surface with a hole, its rim bent inwards, perhaps with powder beside it."""
    centre = (float(flaw.uniform(-0.33, 0.33)), float(flaw.uniform(-0.10, 0.10)))
    size = float(flaw.uniform(0.014, 0.034))
    edge = blotch(flaw, u, v, centre=centre, radius=size, raggedness=0.10)
    shell = surface.height > 0
    hole = coverage(edge, size_px) * shell
    rim = np.exp(-np.maximum(edge, 0) / np.float32(0.35 * size)) * shell
    spill = blotch(
        flaw,
        u,
        v,
        centre=(centre[0], centre[1] + 0.6 * size),
        radius=size * float(flaw.uniform(1.0, 2.2)),
        raggedness=0.4,
    )
    powder = smoothstep(-0.2, 0.9, grain(flaw, size_px, 1.4) - spill / np.float32(size))
    powder *= (1 - hole) * shell * np.float32(flaw.choice([0.0, 0.7]))
    albedo = surface.albedo + (0.8 - surface.albedo) * powder[..., None]
    dark = np.array([0.05, 0.04, 0.03], np.float32)
    return surface._replace(
        height=surface.height
        - np.float32(0.35 * size) * rim
        - np.float32(0.5 * size) * hole
        + np.float32(0.0015) * powder,
        albedo=albedo + (dark - albedo) * (0.94 * hole)[..., None],
        roughness=surface.roughness
        + (0.9 - surface.roughness) * np.maximum(hole, powder),
    )


def add_scratches(
    flaw: np.random.Generator, u: Plane, v: Plane, surface: Surface, size_px: int
) -> Surface:
    """The surface with two to five scratches that are dull and whitened."""
    centre = (float(flaw.uniform(-0.28, 0.28)), float(flaw.uniform(-0.07, 0.07)))
    heading = float(flaw.uniform(0, np.pi))
    groove = np.zeros_like(u)
    for _ in range(int(flaw.integers(2, 6))):
        path = scratch_path(
            flaw,
            centre=(
                centre[0] + float(flaw.normal(0, 0.02)),
                centre[1] + float(flaw.normal(0, 0.015)),
            ),
            length=float(flaw.uniform(0.08, 0.2)),
            half_width=float(flaw.uniform(0.0018, 0.0030)),
            heading=heading + float(flaw.normal(0, 0.15)),
        )
        groove = np.maximum(groove, coverage(stroke(u, v, *path), size_px))
    groove *= surface.height > 0
    # Scratches look pale on the red cap and grey on the ivory body.
    dust = np.where(u > CAP_EDGE, np.float32(0.55), np.float32(0.24))[..., None]
    scuffed = np.float32(flaw.uniform(0.45, 0.75)) * groove[..., None]
    return surface._replace(
        height=surface.height - np.float32(0.0010) * groove,
        albedo=surface.albedo + (dust - surface.albedo) * scuffed,
        roughness=surface.roughness + (0.8 - surface.roughness) * groove,
    )
