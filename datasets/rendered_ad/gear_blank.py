"""The outline and the openings of the gear as signed distances, good and broken.

Lengths are in image widths.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from datasets.rendered_ad.shapes import Plane, box, circle, smooth_union

TEETH = 20
TIP_RADIUS = 0.425
MODULE = TIP_RADIUS / (TEETH / 2 + 1)
PITCH_RADIUS = TIP_RADIUS - MODULE
ROOT_RADIUS = PITCH_RADIUS - 1.25 * MODULE
BORE_RADIUS = 0.072
HOLES = 6
HOLE_RADIUS = 0.042
HOLE_CIRCLE = 0.198
"""Radius of the circle that the holes' centres lie on."""


class Blank(NamedTuple):
    """Shape of the gear, without materials."""

    x: Plane
    y: Plane
    radius: Plane
    outside: Plane
    """Signed distance to the gear's outline and openings: negative on the gear."""


def toothed_disc(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Signed distance to the outline with all teeth, and the nearest tooth's index."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    pitch_angle = 2 * np.pi / TEETH
    tooth = np.round(angle * np.float32(1 / pitch_angle))
    off = angle - tooth * np.float32(pitch_angle)
    across, outward = np.abs(radius * np.sin(off)), radius * np.cos(off)
    up = outward - np.float32(PITCH_RADIUS)
    flank = np.float32(np.pi / 4 * MODULE) - up * 0.36 - up * up * np.float32(2.2)
    side = (across - flank) * np.float32(0.94)
    land = outward - np.float32(TIP_RADIUS)
    return (
        smooth_union(
            np.maximum(side, land), radius - np.float32(ROOT_RADIUS), 0.35 * MODULE
        ),
        np.mod(tooth, TEETH),
    )


def break_teeth(
    flaw: np.random.Generator, x: Plane, y: Plane, toothed: Plane, tooth: Plane
) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """The outline with one or two teeth broken off, and the mask of the fracture."""
    angle = np.arctan2(y, x)
    ripple = sum(
        flaw.normal(0, 0.0022) * np.sin(angle * frequency + flaw.uniform(0, 6.3))
        for frequency in (37, 61, 103, 170)
    )
    stub = np.float32(ROOT_RADIUS + flaw.uniform(0.001, 0.012)) + ripple
    first, count = flaw.integers(0, TEETH), flaw.choice([1, 2], p=[0.8, 0.2])
    here = np.mod(tooth - first, TEETH) < count
    torn = np.where(here, np.maximum(toothed, np.hypot(x, y) - stub), toothed)
    ledge = here & (np.hypot(x, y) > stub - np.float32(0.007)) & (torn < 0)
    return torn.astype(np.float32), ledge


def chip_teeth(
    flaw: np.random.Generator, x: Plane, y: Plane, toothed: Plane, tooth: Plane
) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """The outline with one or two chipped teeth, and the mask of the fracture."""
    first = int(flaw.integers(0, TEETH))
    broken = np.zeros(x.shape, bool)
    for k in range(first, first + int(flaw.choice([1, 2], p=[0.7, 0.3]))):
        at = 2 * np.pi * k / TEETH
        along = np.float32(np.cos(at)) * x + np.float32(np.sin(at)) * y
        across = np.float32(np.cos(at)) * y - np.float32(np.sin(at)) * x
        side, tilt = float(flaw.choice([-1, 1])), float(flaw.uniform(0.35, 1.1))
        direction = (float(np.cos(tilt)), float(side * np.sin(tilt)))
        depth = float(flaw.uniform(0.022, 0.042))
        beyond = (along - np.float32(TIP_RADIUS)) * direction[0]
        beyond += (across - np.float32(side * 0.4 * MODULE)) * direction[1] + depth
        line = across * direction[0] - along * direction[1]
        for frequency in (260, 430, 700):
            beyond += flaw.normal(0, 0.0016) * np.sin(
                line * frequency + flaw.uniform(0, 6.3)
            )
        here = tooth == k % TEETH
        ledge = np.float32(flaw.uniform(0.008, 0.016))
        broken |= here & (beyond > -ledge) & (beyond < 0) & (toothed < 0)
        toothed = np.where(here, np.maximum(toothed, beyond), toothed)
    return toothed.astype(np.float32), broken


def hole_angles(flaw: np.random.Generator | None) -> list[float]:
    """Angles of the holes. With `flaw`, there is one hole less or one more."""
    angles = [2 * np.pi * (k + 0.5) / HOLES for k in range(HOLES)]
    if flaw is None:
        return angles
    k = int(flaw.integers(0, HOLES))
    if flaw.random() < 0.65:
        return angles[:k] + angles[k + 1 :]
    return [*angles, angles[k] + np.pi / HOLES]


def openings(x: Plane, y: Plane, angles: list[float]) -> Plane:
    """Signed distance to the openings: the bore with its keyway, and the holes."""
    keyway = box(x - np.float32(BORE_RADIUS), y, 0.026, 0.019)
    opening = np.minimum(circle(x, y, BORE_RADIUS), keyway)
    for angle in angles:
        hole = circle(
            x - np.float32(HOLE_CIRCLE * np.cos(angle)),
            y - np.float32(HOLE_CIRCLE * np.sin(angle)),
            HOLE_RADIUS,
        )
        opening = np.minimum(opening, hole)
    return opening
