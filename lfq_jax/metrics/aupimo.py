"""AUPIMO: per-image overlap at thresholds with almost no false positives.

AUPIMO is the area under an anomalous image's overlap as a function of the logarithm of
the false-positive rate, from 1e-5 to 1e-4, divided by the length of that interval. The
rate is measured on normal images only. Source: Bertoldo, Ortega, de la Puente,
Zimmermann and Vaquero, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with
High Speed and Low Tolerance", BMVC 2024, arXiv:2401.01984.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped

from lfq_jax.metrics.ground_truth import binarise

FPR_BOUNDS = (1e-5, 1e-4)
"""Limits of the integral over the false-positive rate."""


class Aupimo(NamedTuple):
    """AUPIMO of a category, or why it cannot be computed."""

    value: float | None
    """Mean over the anomalous images."""
    per_image: dict[int, float]
    """AUPIMO of each anomalous image by its index, in [0, 1]."""
    not_computed: str | None
    """Why `value` is None."""


def aupimo(
    maps: Sequence[Shaped[np.ndarray, "..."]],
    masks: Sequence[Shaped[np.ndarray, "..."]],
) -> Aupimo:
    """AUPIMO of maps at their masks' resolution, exact and without bins.

    The false-positive rate of a threshold is the share of a normal image at or above
    the threshold, averaged over the normal images. It has a step at every score. For a
    rate between two steps, the threshold is the smallest whose rate stays below it.

    Args:
      maps: finite scores, [h w] each; sizes may differ. Read twice, image by image.
      masks: [h w], as in `evaluate`.
    """
    lower, upper = FPR_BOUNDS
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
    # From each rate on, all pixels above the next lower score are detected.
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
    """Distinct scores in falling order."""
    rates: Float64[np.ndarray, "k"]
    """Mean share of a normal image at or above each score; the last exceeds `upper`."""


def _highest(
    maps: Sequence[Shaped[np.ndarray, "..."]], normal: Sequence[int], upper: float
) -> _Highest:
    """The highest scores of the normal images, until their rate exceeds `upper`.

    At any time only about `upper` times the number of all normal pixels are stored.
    """
    scores, shares = np.zeros(0), np.zeros(0)
    for i in normal:
        new = np.asarray(maps[i], np.float64).ravel()
        share = 1 / new.size / len(normal)
        if shares.sum() > upper:  # scores below the lowest stored score cannot matter
            new = new[new >= scores[-1]]
        scores = np.concatenate([scores, new])
        shares = np.concatenate([shares, np.full(len(new), share)])
        order = np.argsort(-scores, kind="stable")
        rates = np.cumsum(shares[order])
        enough = int(np.searchsorted(rates, upper, "right")) + 1
        if enough < len(order):  # also keep all scores equal to the last
            falling = -scores[order]
            enough = int(np.searchsorted(falling, falling[enough - 1], "right"))
        scores, shares = scores[order[:enough]], shares[order[:enough]]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    return _Highest(scores[last], np.cumsum(shares)[last])
