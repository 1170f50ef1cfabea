"""AUPIMO: how much of each anomalous image is found where normal images stay silent.

Source: Bertoldo, Ortega, de la Puente, Zimmermann and Vaquero, "AUPIMO: Redefining
Visual Anomaly Detection Benchmarks with High Speed and Low Tolerance", BMVC 2024,
arXiv:2401.01984: the area under the per-image overlap, as a function of the logarithm
of the false-positive rate of the normal images alone, from 1e-5 to 1e-4, divided by the
length of that interval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped

from lfq_jax.metrics.ground_truth import binarise

FPR_BOUNDS = (1e-5, 1e-4)


class Aupimo(NamedTuple):
    """The mean over the anomalous images, or why there is none."""

    value: float | None
    per_image: dict[int, float]
    """By the image's number; each in [0, 1]."""
    not_computed: str | None


def aupimo(
    maps: Sequence[Shaped[np.ndarray, "..."]],
    masks: Sequence[Shaped[np.ndarray, "..."]],
    *,
    fpr_bounds: tuple[float, float] = FPR_BOUNDS,
) -> Aupimo:
    """AUPIMO of maps at their masks' resolution; nothing is binned.

    The shared false-positive rate of a threshold is the mean, over the normal images,
    of the share of the image that lies at or above it. It has a step at every score;
    at a rate between two steps the threshold is the smallest that stays below it.

    Args:
      maps: finite scores, [h w] each; sizes may differ. Read twice, image by image.
      masks: [h w], as in `evaluate`.
      fpr_bounds: where the integral begins and ends.

    Raises:
      ValueError: unless 0 < lower bound < upper bound <= 1.
    """
    lower, upper = fpr_bounds
    if not 0 < lower < upper <= 1:
        raise ValueError(f"fpr_bounds must rise within (0, 1], got {fpr_bounds}")
    anomalous = [bool(binarise(mask).any()) for mask in masks]
    normal = [i for i, any_ in enumerate(anomalous) if not any_]
    if not normal:
        return Aupimo(None, {}, "there is no normal image")
    if len(normal) == len(anomalous):
        return Aupimo(None, {}, "there is no anomalous image")
    finest = min(1 / masks[i].size for i in normal) / len(normal)
    if finest > lower:
        reason = f"the normal images have too few pixels for a rate of {lower:g}"
        return Aupimo(None, {}, reason)
    scores, rates = _highest(maps, normal, upper)
    # From each rate on, everything above the next lower score is found.
    found_above = np.append(scores[1:], -np.inf)
    starts = np.log(np.clip(np.insert(rates, 0, lower), lower, upper))
    found_above = np.insert(found_above, 0, scores[0])
    lengths = np.diff(np.append(starts, np.log(upper))) / np.log(upper / lower)
    per_image = {}
    for i in (i for i, any_ in enumerate(anomalous) if any_):
        inside = np.sort(np.asarray(maps[i], np.float64)[binarise(masks[i])])
        above = len(inside) - np.searchsorted(inside, found_above, "right")
        overlap = float(np.dot(above / len(inside), lengths))
        per_image[i] = min(max(overlap, 0.0), 1.0)
    return Aupimo(float(np.mean(list(per_image.values()))), per_image, None)


class _Highest(NamedTuple):
    scores: Float64[np.ndarray, "k"]
    """Distinct, falling."""
    rates: Float64[np.ndarray, "k"]
    """Mean share of a normal image at or above each; the last is above the bound."""


def _highest(
    maps: Sequence[Shaped[np.ndarray, "..."]], normal: Sequence[int], upper: float
) -> _Highest:
    """The highest scores of the normal images, until their rate exceeds `upper`.

    Few are kept at any time: `upper` times the pixels of all of them.
    """
    scores, shares = np.zeros(0), np.zeros(0)
    for i in normal:
        new = np.asarray(maps[i], np.float64).ravel()
        share = 1 / new.size / len(normal)
        if shares.sum() > upper:  # what lies below the lowest can no longer matter
            new = new[new >= scores[-1]]
        scores = np.concatenate([scores, new])
        shares = np.concatenate([shares, np.full(len(new), share)])
        order = np.argsort(-scores, kind="stable")
        rates = np.cumsum(shares[order])
        enough = int(np.searchsorted(rates, upper, "right")) + 1
        if enough < len(order):  # with all that ties with the last
            falling = -scores[order]
            enough = int(np.searchsorted(falling, falling[enough - 1], "right"))
        scores, shares = scores[order[:enough]], shares[order[:enough]]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    return _Highest(scores[last], np.cumsum(shares)[last])
