"""The ground-truth rule: anomalous pixels, their resolution, and their regions.

By default a map is resized to its mask's own resolution, a mask is anomalous where it
is > 127 of 255, and regions are 8-connected. The other rules are those of published
code. They change every pixel-level metric.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from scipy import ndimage

from lfq_jax.ops.resize import to_mask_resolution

GroundTruthRule = Literal[
    "own-resolution", "resized-nearest", "resized-above-zero", "resized-floor"
]
RULES: tuple[GroundTruthRule, ...] = get_args(GroundTruthRule)
THRESHOLD = 127
EIGHT_CONNECTED = np.ones((3, 3), int)


class Pair(NamedTuple):
    """A map and its mask, at the same resolution."""

    anomaly_map: Shaped[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]


def is_two_level(mask: Shaped[np.ndarray, "h w"]) -> bool:
    """Whether `mask` is boolean or has only the values 0 and 255."""
    if mask.dtype == bool:
        return True
    return bool(((mask == 0) | (mask == 255)).all())


def binarise(
    mask: Shaped[np.ndarray, "h w"], *, name: str = "mask"
) -> Bool[np.ndarray, "h w"]:
    """True where anomalous: a boolean mask itself, or integers > 127 of 255.

    Raises:
      ValueError: if values are outside 0 to 255, or if some are above 0 but none above
        127, which would silently turn a defective part into a good one.
    """
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "ui":
        raise ValueError(
            f"{name} must be boolean or integers of 0 to 255, got {mask.dtype}"
        )
    if mask.size and (mask.min() < 0 or mask.max() > 255):
        raise ValueError(
            f"{name} must have values of 0 to 255, got {mask.min()} to {mask.max()}"
        )
    anomalous = mask > THRESHOLD
    if mask.any() and not anomalous.any():
        raise ValueError(
            f"{name} has values up to {mask.max()} and none above {THRESHOLD}; "
            "a mask is anomalous where it is > 127 of 255"
        )
    return anomalous


def regions(mask: Bool[np.ndarray, "h w"]) -> Int64[np.ndarray, "n"]:
    """Size in pixels of each anomalous pixel's 8-connected region, row by row."""
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return np.zeros(0, np.int64)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    # Labelling is the most expensive step, and most of a mask is empty.
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels = np.empty(part.shape, np.int32)
    ndimage.label(part, structure=EIGHT_CONNECTED, output=labels)
    sizes = np.bincount(labels.ravel())
    return sizes[labels[part]]


def under_rule(
    anomaly_map: Shaped[np.ndarray, "h w"],
    mask: Shaped[np.ndarray, "H W"],
    *,
    rule: GroundTruthRule = "own-resolution",
    evaluation_px: int = 256,
    name: str = "mask",
) -> Pair:
    """A map and its mask at the resolution that `rule` compares them at.

    `own-resolution`, the default and the only rule to report, uses the mask's own
    resolution. The other rules resize map and mask to a square of `evaluation_px`:

    - `resized-nearest`: nearest mask pixel, anomalous above 127.
    - `resized-above-zero`: bilinear mask, anomalous above 0, which enlarges defects.
    - `resized-floor`: bilinear mask truncated to an integer, so that only fully
      covered pixels are anomalous, which shrinks defects.

    Args:
      anomaly_map: scores at any resolution.
      mask: boolean, or integers from 0 to 255.
      rule: one of `RULES`.
      evaluation_px: side of the square.
      name: name of the mask in error messages.

    Raises:
      ValueError: for an unknown rule, a side below 1, or a mask that `binarise`
        refuses.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if evaluation_px < 1:
        raise ValueError(f"evaluation_px must be at least 1, got {evaluation_px}")
    if rule == "own-resolution":
        return Pair(
            to_mask_resolution(anomaly_map, mask.shape), binarise(mask, name=name)
        )
    square = (evaluation_px, evaluation_px)
    scores = to_mask_resolution(anomaly_map, square)
    if rule == "resized-nearest":
        rows, columns = (
            (np.arange(evaluation_px) + 0.5) * side // evaluation_px
            for side in mask.shape
        )
        nearest = binarise(mask, name=name)[
            np.ix_(rows.astype(int), columns.astype(int))
        ]
        return Pair(scores, nearest)
    full = 1.0 if mask.dtype == bool else 255.0
    coverage = to_mask_resolution(mask / full, square)
    # Interpolation may round a fully covered pixel to just below 1.
    whole = coverage >= 1 - 1e-9
    return Pair(scores, whole if rule == "resized-floor" else coverage > 0)
