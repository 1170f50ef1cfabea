"""ROC and PRO curves, and the figures, from counts at thresholds.

Every figure of the evaluation comes from here: exact evaluation counts at each distinct
score, streaming evaluation at each bin of a histogram. numpy only.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from lfq_jax.metrics.counts import Counts


class Curve(NamedTuple):
    """Points of a curve, from the strictest threshold to the most lenient."""

    x: Float64[np.ndarray, "p"]
    y: Float64[np.ndarray, "p"]


def _rising_share(counts: Float64[np.ndarray, "t"]) -> Float64[np.ndarray, "t+1"]:
    """0, then the share of the total at or above each threshold; ends at exactly 1."""
    total = np.cumsum(counts)
    return np.concatenate([[0.0], total / total[-1]])


def _before(counts: Float64[np.ndarray, "t"]) -> Float64[np.ndarray, "t"]:
    """What lies above each threshold."""
    return np.cumsum(counts) - counts


def _unit(value: float) -> float:
    """`value` without the rounding that would carry it past [0, 1]."""
    return float(min(max(value, 0.0), 1.0))


def roc(counts: Counts) -> Curve:
    """False-positive rate against true-positive rate."""
    return Curve(_rising_share(counts.normal), _rising_share(counts.anomalous))


def auroc(counts: Counts) -> float:
    """Area under the ROC curve; ties count one half, as in scikit-learn.

    Sums pairs instead of differences of shares, which would cancel.
    """
    above = _before(counts.anomalous) + counts.anomalous / 2
    pairs = counts.normal.sum() * counts.anomalous.sum()
    return _unit(np.dot(counts.normal, above) / pairs)


def average_precision(counts: Counts) -> float:
    """Sum of precision times the gain in recall, as in scikit-learn.

    Scores that are equal have the precision at the last of them. Where scores that
    differ are counted together, they have that of their middle, were they well mixed.
    """
    gains = counts.anomalous > 0
    precision = precision_in_place(counts)[gains]
    anomalous = counts.anomalous[gains]
    return _unit(np.dot(anomalous, precision) / anomalous.sum())


def precision_in_place(counts: Counts) -> Float64[np.ndarray, "t"]:
    """The precision that each threshold's anomalous scores are counted with."""
    anomalous = np.where(counts.tied, (counts.anomalous + 1) / 2, counts.anomalous)
    normal = np.where(counts.tied, counts.normal / 2, counts.normal)
    true = _before(counts.anomalous) + anomalous
    return true / np.maximum(true + _before(counts.normal) + normal, 1.0)


def f1_max(counts: Counts) -> tuple[float, float]:
    """The largest F1 and the threshold (score >= threshold) that gives it."""
    true = np.cumsum(counts.anomalous)
    accepted = true + np.cumsum(counts.normal)
    f1 = 2 * true / (accepted + true[-1])
    best = int(np.argmax(f1))
    return _unit(f1[best]), float(counts.thresholds[best])


def pro_curve(counts: Counts) -> Curve:
    """False-positive rate against the mean covered share of a region."""
    return Curve(_rising_share(counts.normal), _rising_share(counts.covered))


def pro(counts: Counts, *, fpr_limit: float = 0.3) -> float:
    """Area under the PRO curve up to `fpr_limit`, divided by `fpr_limit`; in [0, 1].

    The share at exactly `fpr_limit` is interpolated linearly. Source: Bergmann et al.,
    "The MVTec Anomaly Detection Dataset", IJCV 2021.
    """
    part = part_within(counts.normal, fpr_limit)
    # A trapezoid a threshold; the one that crosses the limit is cut.
    height = _before(counts.covered) + part * counts.covered / 2
    area = np.dot(part * counts.normal, height)
    allowed = fpr_limit * counts.normal.sum()
    return _unit(area / allowed / counts.covered.sum())


def part_within(
    normal: Float64[np.ndarray, "t"], fpr_limit: float
) -> Float64[np.ndarray, "t"]:
    """Part of each threshold's normal pixels that lies below `fpr_limit`: 0 to 1."""
    left = fpr_limit * normal.sum() - _before(normal)
    size = np.where(normal > 0, normal, 1.0)
    return np.clip(left / size, 0.0, 1.0)
