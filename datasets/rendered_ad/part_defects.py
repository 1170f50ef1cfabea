"""Shapes of defects, in part coordinates: scratches, cracks and patches.

This file defines only geometry. The file of each part defines how a defect changes
height, colour and roughness.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from datasets.rendered_ad.shapes import Plane


class Path(NamedTuple):
    """A line of varying width: its points and half widths, in image widths."""

    points: Float[np.ndarray, "n 2"]
    half_widths: Float[np.ndarray, " n"]


def scratch_path(
    rng: np.random.Generator,
    *,
    centre: tuple[float, float],
    length: float,
    half_width: float,
    heading: float,
) -> Path:
    """A slightly bent line that gets thinner, like the scratch of a slipping tool."""
    t = np.linspace(-0.5, 0.5, 15)
    bow = float(rng.normal(0, 0.06)) * (1 - 4 * t * t) + rng.normal(0, 0.004, t.size)
    along, across = t * length, bow * length
    cosine, sine = np.cos(heading), np.sin(heading)
    points = np.stack(
        [
            centre[0] + along * cosine - across * sine,
            centre[1] + along * sine + across * cosine,
        ],
        axis=1,
    )
    pressure = np.clip(1.15 - (t + 0.5) ** 2, 0, 1) * rng.uniform(0.7, 1.1, t.size)
    pressure[0] *= 0.4
    return Path(points, half_width * pressure)


def crack_path(
    rng: np.random.Generator,
    *,
    start: tuple[float, float],
    heading: float,
    length: float,
    half_width: float,
) -> Path:
    """A jagged line that gets thinner towards its end, like a crack."""
    steps = max(8, round(length / 0.009))
    turns = heading + np.cumsum(rng.normal(0, 0.16, steps)) + rng.normal(0, 0.5, steps)
    lengths = length / steps * rng.uniform(0.5, 1.5, steps)
    walk = np.stack([np.cos(turns) * lengths, np.sin(turns) * lengths], axis=1)
    points = np.vstack([np.zeros(2), np.cumsum(walk, axis=0)]) + np.asarray(start)
    opening = np.linspace(1, 0.25, steps + 1) * rng.uniform(0.6, 1.2, steps + 1)
    return Path(points, half_width * opening)


def blotch(
    rng: np.random.Generator,
    x: Plane,
    y: Plane,
    *,
    centre: tuple[float, float],
    radius: float,
    raggedness: float = 0.25,
) -> Plane:
    """Approximate signed distance to an elongated patch with a wavy border."""
    stretch = np.float32(rng.uniform(1.0, 1.7))
    turn = rng.uniform(0, np.pi)
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    along, across = (cosine * dx + sine * dy) / stretch, cosine * dy - sine * dx
    off = np.hypot(along, across)
    waves = np.arange(2, 9)
    phases = rng.uniform(0, 2 * np.pi, waves.size)
    swings = rng.normal(0, raggedness / np.sqrt(waves), waves.size)
    angle_steps = np.linspace(-np.pi, np.pi, 361)
    border = 1 + np.sum(
        swings[:, None] * np.cos(waves[:, None] * angle_steps + phases[:, None]), axis=0
    )
    border = np.clip(border, 0.5, 1.7)
    around = np.interp(np.arctan2(across, along), angle_steps, border)
    return off - np.float32(radius) * around.astype(np.float32)
