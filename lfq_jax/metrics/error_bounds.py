"""Largest possible differences between a histogram's metrics and the exact metrics.

A bin hides the order of its scores. Each bound assumes the best and the worst order in
every bin, so it holds for any distribution of scores.
"""

import numpy as np

from lfq_jax.metrics.counts import Counts
from lfq_jax.metrics.curves import part_within, precision_in_place


def auroc_error(counts: Counts) -> float:
    """Half of the share of (normal, anomalous) pairs with both scores in one bin."""
    hidden = np.dot(counts.normal * counts.tied, counts.anomalous)
    return float(hidden / (2 * counts.normal.sum() * counts.anomalous.sum()))


def average_precision_error(counts: Counts) -> float:
    """Largest change if each bin has its anomalous, or its normal, scores first."""
    gains = (counts.anomalous > 0) & counts.tied
    true = np.cumsum(counts.anomalous)[gains]
    false = np.cumsum(counts.normal)[gains]
    normal, anomalous = counts.normal[gains], counts.anomalous[gains]
    precision = precision_in_place(counts)[gains]
    best = true / (true + false - normal)
    worst = (true - anomalous + 1) / (true - anomalous + 1 + false)
    total = counts.anomalous.sum()
    over = np.dot(anomalous, best - precision) / total
    under = np.dot(anomalous, np.maximum(precision - worst, 0.0)) / total
    return float(max(over, under))


def f1_max_error(counts: Counts) -> float:
    """Largest gain of F1 by a threshold inside a bin; F1 cannot decrease."""
    true = np.cumsum(counts.anomalous)
    false = np.cumsum(counts.normal)
    total = true[-1]
    found = 2 * true / (true + false + total)
    hidden = np.where(counts.tied, counts.normal, 0.0)
    best = 2 * true / (true + false - hidden + total)
    return float(max(best.max() - found.max(), 0.0))


def pro_error(counts: Counts, *, fpr_limit: float) -> float:
    """Largest change if regions are covered at the start, or the end, of each bin."""
    part = part_within(counts.normal, fpr_limit)
    hidden = np.dot(part * counts.normal * counts.tied, counts.covered * (1 - part / 2))
    allowed = fpr_limit * counts.normal.sum()
    return float(hidden / allowed / counts.covered.sum())
