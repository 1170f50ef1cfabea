"""ROC and PRO curves and the metrics of the evaluation, from counts at thresholds.

Exact evaluation counts at each distinct score, streaming evaluation in each bin of a
histogram; both use these functions. numpy only.
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
    """0, then the share of the total at or above each threshold; the last is 1."""
    total = np.cumsum(counts)
    return np.concatenate([[0.0], total / total[-1]])


def _before(counts: Float64[np.ndarray, "t"]) -> Float64[np.ndarray, "t"]:
    """Count in all groups above each group."""
    return np.cumsum(counts) - counts


def _unit(value: float) -> float:
    """`value` clipped to [0, 1], which rounding may exceed."""
    return float(min(max(value, 0.0), 1.0))


def roc(counts: Counts) -> Curve:
    """False-positive rate against true-positive rate."""
    return Curve(_rising_share(counts.normal), _rising_share(counts.anomalous))


def auroc(counts: Counts) -> float:
    """Area under the ROC curve; ties count one half, as in scikit-learn.

    Sums pairs, since differences of shares would lose precision by cancellation.
    """
    above = _before(counts.anomalous) + counts.anomalous / 2
    pairs = counts.normal.sum() * counts.anomalous.sum()
    return _unit(np.dot(counts.normal, above) / pairs)


def average_precision(counts: Counts) -> float:
    """Sum of precision times the gain in recall, as in scikit-learn.

    Equal scores have the precision after the last of them. Different scores in one
    group have the expected precision at the group's middle, as if in random order.
    """
    gains = counts.anomalous > 0
    precision = precision_in_place(counts)[gains]
    anomalous = counts.anomalous[gains]
    return _unit(np.dot(anomalous, precision) / anomalous.sum())


def precision_in_place(counts: Counts) -> Float64[np.ndarray, "t"]:
    """Precision of the anomalous scores in each group; see `average_precision`."""
    anomalous = np.where(counts.tied, (counts.anomalous + 1) / 2, counts.anomalous)
    normal = np.where(counts.tied, counts.normal / 2, counts.normal)
    true = _before(counts.anomalous) + anomalous
    return true / np.maximum(true + _before(counts.normal) + normal, 1.0)


def f1_max(counts: Counts) -> tuple[float, float]:
    """The largest F1, and its threshold (anomalous: score >= threshold)."""
    true = np.cumsum(counts.anomalous)
    accepted = true + np.cumsum(counts.normal)
    f1 = 2 * true / (accepted + true[-1])
    best = int(np.argmax(f1))
    return _unit(f1[best]), float(counts.thresholds[best])


def pro_curve(counts: Counts) -> Curve:
    """False-positive rate against the covered share of a region, averaged."""
    return Curve(_rising_share(counts.normal), _rising_share(counts.covered))


def pro(counts: Counts, *, fpr_limit: float = 0.3) -> float:
    """Area under the PRO curve up to `fpr_limit`, divided by `fpr_limit`; in [0, 1].

    The covered share at exactly `fpr_limit` is interpolated linearly. Source: Bergmann
    et al., "The MVTec Anomaly Detection Dataset", IJCV 2021.
    """
    part = part_within(counts.normal, fpr_limit)
    # One trapezoid per threshold. The trapezoid that crosses the limit is cut.
    height = _before(counts.covered) + part * counts.covered / 2
    area = np.dot(part * counts.normal, height)
    allowed = fpr_limit * counts.normal.sum()
    return _unit(area / allowed / counts.covered.sum())


def part_within(
    normal: Float64[np.ndarray, "t"], fpr_limit: float
) -> Float64[np.ndarray, "t"]:
    """Part of each group's normal pixels up to a rate of `fpr_limit`, from 0 to 1."""
    left = fpr_limit * normal.sum() - _before(normal)
    size = np.where(normal > 0, normal, 1.0)
    return np.clip(left / size, 0.0, 1.0)
