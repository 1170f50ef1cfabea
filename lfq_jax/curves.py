"""ROC, precision-recall and PRO curves from counts at descending thresholds.

Every figure of the evaluation comes from here: exact evaluation counts at each distinct
score, streaming evaluation at each bin of a histogram. numpy only.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64


class Counts(NamedTuple):
    """How much of each class lies at each threshold, from the highest score down.

    `normal` and `anomalous` count pixels (or images). `covered` sums, over the
    ground-truth regions, the share of the region that lies there: its total is the
    number of regions.
    """

    thresholds: Float64[np.ndarray, "t"]
    normal: Float64[np.ndarray, "t"]
    anomalous: Float64[np.ndarray, "t"]
    covered: Float64[np.ndarray, "t"]


class Curve(NamedTuple):
    """Points of a curve, from the strictest threshold to the most lenient."""

    x: Float64[np.ndarray, "t"]
    y: Float64[np.ndarray, "t"]


def _rising_share(counts: np.ndarray) -> np.ndarray:
    """0, then the share of the total at or above each threshold; ends at exactly 1."""
    total = np.cumsum(counts)
    return np.concatenate([[0.0], total / total[-1]])


def roc(counts: Counts) -> Curve:
    """False-positive rate against true-positive rate."""
    return Curve(_rising_share(counts.normal), _rising_share(counts.anomalous))


def auroc(counts: Counts) -> float:
    """Area under the ROC curve; ties count one half, as in scikit-learn."""
    x, y = roc(counts)
    return float(np.clip(np.trapezoid(y, x), 0.0, 1.0))


def precision_recall(counts: Counts) -> Curve:
    """Recall against precision, at each threshold that accepts anything."""
    true = np.cumsum(counts.anomalous)
    accepted = true + np.cumsum(counts.normal)
    some = accepted > 0
    return Curve(true[some] / true[-1], true[some] / accepted[some])


def average_precision(counts: Counts) -> float:
    """Sum of precision times the gain in recall, as in scikit-learn."""
    recall, precision = precision_recall(counts)
    return float(np.clip(np.sum(np.diff(recall, prepend=0.0) * precision), 0.0, 1.0))


def f1_max(counts: Counts) -> tuple[float, float]:
    """The largest F1 and the threshold (score >= threshold) that gives it."""
    true = np.cumsum(counts.anomalous)
    accepted = true + np.cumsum(counts.normal)
    f1 = 2 * true / (accepted + true[-1])
    best = int(np.argmax(f1))
    return float(f1[best]), float(counts.thresholds[best])


def pro_curve(counts: Counts) -> Curve:
    """False-positive rate against the mean covered share of a region."""
    return Curve(_rising_share(counts.normal), _rising_share(counts.covered))


def pro(counts: Counts, *, fpr_limit: float = 0.3) -> float:
    """Area under the PRO curve up to `fpr_limit`, divided by `fpr_limit`; in [0, 1].

    The share at exactly `fpr_limit` is interpolated. Source: Bergmann et al. 2021,
    "The MVTec anomaly detection dataset", section 5.
    """
    x, y = pro_curve(counts)
    inside = x <= fpr_limit
    # Of several points at one rate the last is the highest: interpolate from there.
    after = np.argmax(~inside) if not inside.all() else len(x) - 1
    y_limit = (
        y[-1]
        if inside.all()
        else np.interp(fpr_limit, x[after - 1 : after + 1], y[after - 1 : after + 1])
    )
    x = np.append(x[inside], fpr_limit)
    y = np.append(y[inside], y_limit)
    return float(np.clip(np.trapezoid(y, x) / fpr_limit, 0.0, 1.0))
