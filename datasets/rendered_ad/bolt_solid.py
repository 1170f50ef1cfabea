"""The geometry of the bolt, good and deformed.

Coordinates: u along the axis, v across it, z towards the camera. The head is a
hexagonal prism cut by the cone of the chamfer. The thread is a helix on a cylinder.
Lengths are in image widths.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from datasets.rendered_ad.part_defects import blotch
from datasets.rendered_ad.shapes import Plane, smoothstep
from datasets.rendered_ad.table import grain, soft_noise

HEAD = (-0.43, -0.29)
"""Where the head begins and ends along u."""
CORNER_RADIUS = 0.190
"""Radius of the hexagon's corners."""
COLLAR_END = -0.279
SHANK_RADIUS = 0.098
THREAD = (-0.09, 0.430)
"""Where the thread begins and ends along u."""
PITCH = 0.0315
THREAD_DEPTH = 0.0155


class Pose(NamedTuple):
    """Position and rotation of a bolt, and the phase of its thread."""

    shift: tuple[float, float]
    degrees: float
    roll: float
    """Rotation around the bolt's own axis, in radians."""
    thread_start: float
    """Phase of the thread, in turns."""


def half_round(v: Plane, radius: Plane) -> Plane:
    """Height of a round bar above its axis; 0 beside the bar."""
    return np.sqrt(np.maximum(radius * radius - v * v, 0))


def head_height(u: Plane, v: Plane, roll: float) -> Plane:
    """Height of the chamfered hexagon and its collar above the axis."""
    apothem = CORNER_RADIUS * np.cos(np.pi / 6)
    z = np.full(u.shape, 1.0, np.float32)
    for k in range(6):
        angle = roll + k * np.pi / 3
        across, towards = np.sin(angle), np.cos(angle)
        if abs(towards) < 1e-3:
            continue
        face = np.float32(apothem / towards) - v * np.float32(across / towards)
        z = np.minimum(z, face) if towards > 0 else np.where(face > z, 0, z)
    cone = np.float32(0.86 * CORNER_RADIUS) + (u - np.float32(HEAD[0])) * 1.75
    z = np.minimum(z, half_round(v, np.maximum(cone, 0)))
    z = np.where((u > HEAD[0]) & (u < HEAD[1]), np.maximum(z, 0), 0)
    on_collar = (u >= HEAD[1]) & (u < COLLAR_END)
    collar = np.where(on_collar, np.float32(0.93 * apothem), np.float32(0))
    return np.maximum(z, half_round(v, collar))


def shank_radius(u: Plane, v: Plane, pose: Pose) -> Plane:
    """Radius of shank and thread on the visible side; 0 beyond their ends."""
    around = np.arcsin(np.clip(v * np.float32(1 / SHANK_RADIUS), -1, 1)) + np.float32(
        pose.roll
    )
    turn = u * np.float32(1 / PITCH) + around * np.float32(0.5 / np.pi)
    ramp = np.abs(2 * np.mod(turn + np.float32(pose.thread_start), 1) - 1)
    groove = smoothstep(0.10, 0.80, ramp)
    begin, end = THREAD
    cut = smoothstep(begin - PITCH, begin + 1.5 * PITCH, u)
    radius = SHANK_RADIUS - np.float32(THREAD_DEPTH) * groove * cut
    tip = np.float32(SHANK_RADIUS + end - 0.022) - u
    fillet = np.float32(SHANK_RADIUS) + np.maximum(COLLAR_END + 0.008 - u, 0) * 0.8
    radius = np.where(u < COLLAR_END + 0.008, fillet, radius)
    radius = np.minimum(radius, tip)
    return np.where((u > HEAD[1]) & (u < end), np.maximum(radius, 0), 0).astype(
        np.float32
    )


def bend_shank(flaw: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Coordinate v for a shank that is bent up or down in the image."""
    start = np.float32(flaw.uniform(0.15, 0.27))
    tip_offset = float(flaw.choice([-1, 1]) * flaw.uniform(0.016, 0.05))
    past = np.maximum(u - start, 0)
    reach = THREAD[1] - float(start)
    knee = past * past / (past + np.float32(0.03))
    return v - np.float32(tip_offset * (reach + 0.03) / reach**2) * knee


def remove_thread(flaw: np.random.Generator, u: Plane, radius: Plane) -> Plane:
    """The radius without thread along two to five turns."""
    length = float(flaw.uniform(2.2, 5.0)) * PITCH
    begin = float(flaw.uniform(THREAD[0] + 2 * PITCH, THREAD[1] - length - 2 * PITCH))
    plain = smoothstep(begin, begin + 0.5 * PITCH, u)
    plain = plain * (1 - smoothstep(begin + length, begin + length + 0.5 * PITCH, u))
    blank = np.float32(SHANK_RADIUS - 0.45 * THREAD_DEPTH)
    return radius + (blank - radius) * plain


def crush_thread(flaw: np.random.Generator, u: Plane, v: Plane, radius: Plane) -> Plane:
    """The radius with thread crests flattened in a patch, and a burr around it."""
    centre = (
        float(flaw.uniform(THREAD[0] + 0.05, THREAD[1] - 0.07)),
        float(flaw.uniform(-0.85, 0.85)) * SHANK_RADIUS,
    )
    size = float(flaw.uniform(0.022, 0.06))
    patch = blotch(flaw, u, v, centre=centre, radius=size, raggedness=0.12)
    struck = 1 - smoothstep(-0.010, 0.002, patch)
    floor = SHANK_RADIUS - THREAD_DEPTH * float(flaw.uniform(0.7, 1.25))
    dents = np.float32(0.12 * THREAD_DEPTH) * soft_noise(flaw, u.shape[0], 70)
    burr = np.float32(0.35 * THREAD_DEPTH) * np.exp(-((patch / np.float32(0.004)) ** 2))
    crushed = np.minimum(radius, np.float32(floor) + dents)
    there = (radius > 0) & (u < THREAD[1] - 0.02)
    return np.where(there, radius + (crushed - radius) * struck + burr, radius)


def chip_head(
    flaw: np.random.Generator, u: Plane, v: Plane, z: Plane, size_px: int
) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """The height with a corner of the head broken off, and the mask of the fracture."""
    at_top = bool(flaw.integers(0, 2))
    corner_u = float(HEAD[0] if at_top else HEAD[1])
    side = float(flaw.choice([-1, 1]))
    out_u = (-1 if at_top else 1) * float(flaw.uniform(0.5, 1.0))
    out_v = side * float(flaw.uniform(0.6, 1.0))
    out_z = float(flaw.uniform(0.25, 0.6))
    depth = float(flaw.uniform(0.035, 0.085))
    beyond = (u - np.float32(corner_u)) * out_u
    beyond = beyond + (v - np.float32(side * 0.93 * CORNER_RADIUS)) * out_v
    rough = 0.003 * soft_noise(flaw, size_px, 44) + 0.0012 * grain(flaw, size_px, 2)
    broken = (np.float32(-depth) - beyond) * np.float32(1 / out_z) + 0.055 + rough
    fracture = (u < COLLAR_END) & (z > 0) & (broken < z)
    return np.where(fracture, np.maximum(broken, 0), z).astype(np.float32), fracture
