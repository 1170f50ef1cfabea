"""The print on the capsule's body, good and faulty."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from datasets.rendered_ad.part_defects import blotch
from datasets.rendered_ad.shapes import Plane, lettering, smoothstep

PRINT = "LQ 250"
PRINT_CENTRE = -0.205
PRINT_LENGTH = 0.25
PRINT_HEIGHT = 0.066
BODY_RADIUS = 0.163


class Imprint(NamedTuple):
    """Position and quality of the print."""

    shift: tuple[float, float] = (0.0, 0.0)
    """Along the axis and around it, in image widths."""
    degrees: float = 0.0
    smear: float = 0.0
    """How far wet ink was smeared around the capsule, in image widths."""
    wiped: Plane | None = None
    """Share of the ink that is left at every pixel."""


def ink_coverage(u: Plane, around: Plane, imprint: Imprint, size_px: int) -> Plane:
    """Ink coverage in [0, 1] at every pixel of the shell."""
    ink = lettering(PRINT, 48, 6, 2)
    along = u - np.float32(PRINT_CENTRE + imprint.shift[0])
    across = around * np.float32(BODY_RADIUS) - np.float32(imprint.shift[1])
    turn = np.radians(imprint.degrees)
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along, across = cosine * along + sine * across, cosine * across - sine * along
    column = (along / np.float32(PRINT_LENGTH) + 0.5) * ink.shape[1]
    row = (across / np.float32(PRINT_HEIGHT) + 0.5) * ink.shape[0]
    # One pixel of the scene covers several of the lettering: blur the lettering first.
    softened = ndimage.gaussian_filter(
        np.pad(ink, 8), 0.45 * ink.shape[1] / (PRINT_LENGTH * size_px)
    )
    if imprint.smear:
        rows = imprint.smear / PRINT_HEIGHT * ink.shape[0]
        softened = smear_ink(np.pad(softened, ((0, round(rows)), (0, 0))), rows)
    near = np.abs(along) < PRINT_LENGTH
    share = np.zeros_like(u)
    share[near] = ndimage.map_coordinates(
        softened, [row[near] + 7.5, column[near] + 7.5], order=1, mode="constant"
    )
    return share if imprint.wiped is None else share * imprint.wiped


def smear_ink(ink: Plane, rows: float) -> Plane:
    """Smear the ink downwards over `rows` rows, with decreasing strength."""
    trail, out = ink.copy(), ink.copy()
    for _ in range(round(rows)):
        trail = np.roll(trail, 1, 0) * np.float32(0.93)
        np.maximum(out, 0.75 * trail, out=out)
    return out


def misprint(
    flaw: np.random.Generator, u: Plane, v: Plane, imprint: Imprint
) -> Imprint:
    """A random fault of the print: crooked, displaced, smeared, or partly missing."""
    fault = flaw.choice(["crooked", "displaced", "smeared", "partial"])
    if fault == "crooked":
        return imprint._replace(
            degrees=float(flaw.choice([-1, 1]) * flaw.uniform(12, 28))
        )
    if fault == "displaced":
        along = float(flaw.choice([-0.045, 0.08]) + flaw.normal(0, 0.006))
        around = float(flaw.choice([-1, 1]) * flaw.uniform(0.05, 0.085))
        return imprint._replace(shift=(along, around))
    if fault == "smeared":
        return imprint._replace(smear=float(flaw.uniform(0.03, 0.08)))
    centre = (
        PRINT_CENTRE + float(flaw.uniform(-0.09, 0.09)),
        float(flaw.normal(0, 0.01)),
    )
    patch = blotch(flaw, u, v, centre=centre, radius=float(flaw.uniform(0.03, 0.06)))
    left = smoothstep(-0.006, 0.004, patch)
    return imprint._replace(wiped=np.maximum(left, np.float32(flaw.uniform(0, 0.2))))
