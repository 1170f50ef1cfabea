"""The rules by which a threshold is chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from lfq_jax.calibration.score_calibrator import (
    ScoreCalibrator,
    from_log_odds,
    log_odds,
)
from lfq_jax.calibration.scores import Scores

MAP_MAX = "map_max"
"""Name of the score that pixel thresholds are set on: the largest value of the map."""
CONFIDENCE = 0.9
"""Confidence of the bound on one threshold's own false-alarm rate."""


MARGIN = 0.25
"""Position of `margin` between good parts and anomalies, in log-odds. It is above 0
since new parts differ by more than variations of a few parts do. See
docs/results/accuracy.md."""


class Excess(NamedTuple):
    """How far scores of new good parts lie above the shots' variations, in log-odds."""

    mean: float
    deviation: float


_OF_MAXIMA = Excess(-0.4, 1.7)
NEW_PARTS: dict[str, Excess] = {
    "mean": Excess(-0.8, 1.15),
    "max": _OF_MAXIMA,
    "top_k_mean": Excess(-0.45, 1.55),
    "smoothed_max": Excess(-0.45, 1.55),
    MAP_MAX: _OF_MAXIMA,
}
"""By image score: of good images of six public data sets, two shots each, from
the mean of the variations of the shots on. `map_max` was not measured, and has the
values of `max`. See docs/lab_notes/2026-11-30-new-parts.md."""


@dataclass(frozen=True)
class Threshold:
    """One threshold, with a statement of its basis."""

    value: float
    """The lowest anomalous score."""
    statement: str
    """One sentence: the data that the threshold is based on and what it guarantees."""


def conformal_rank(count: int, rate: float) -> int | None:
    """Rank, from 1, of the score that a new score exceeds with probability <= `rate`.

    The rank is among `count` rising scores. None if `count` is below 1 / rate - 1: too
    few scores for any guarantee.
    """
    rank = math.ceil((count + 1) * (1.0 - rate) - 1e-9)
    return rank if rank <= count else None


def false_alarm_threshold(
    scores: Sequence[float] | np.ndarray, *, rate: float, parts: int | None = None
) -> Threshold:
    """The threshold that good images reach with probability at most `rate`.

    Args:
      scores: scores of good images, each in [0, 1].
      rate: nominal false-alarm rate, in (0, 1).
      parts: number of different parts, if the images are variations of a few parts.
        Such scores are not independent, so there is no guarantee.

    Raises:
      ValueError: if there is no score, or the rate is outside (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"false_alarm_rate must be in (0, 1), got {rate}")
    good = ScoreCalibrator.of(scores)
    count = len(good.scores)
    rank = conformal_rank(count, rate)
    if rank is None:
        value = good.at_share(1.0 - rate)
    else:
        value = good.scores[rank - 1]
    statement = (
        _conformal_statement(count, rank, rate)
        if parts is None
        else _variations_statement(count, parts, rate)
    )
    # A score equal to the threshold is anomalous, and this good score must not be.
    above = np.nextafter(np.float32(value), np.float32(math.inf))
    return Threshold(float(above), statement)


def _conformal_statement(count: int, rank: int | None, rate: float) -> str:
    if rank is None:
        return (
            f"extrapolated from {count} good images by an exponential tail: "
            f"{rate:.1%} is an estimate. {count} images guarantee no rate below "
            f"{1 / (count + 1):.1%}; {math.ceil(1 / rate - 1)} would guarantee "
            f"{rate:.1%}"
        )
    return (
        f"conformal, from {count} good images: if later images come from the same "
        f"distribution, a good image is called anomalous with probability at most "
        f"{rate:.1%}, averaged over such sets of {count}; with {CONFIDENCE:.0%} "
        "confidence the rate of this particular threshold is at most "
        f"{realised_bound(count, rank):.1%}"
    )


def _variations_statement(count: int, parts: int, rate: float) -> str:
    return (
        f"from {count} variations of {parts} good part{'s' * (parts > 1)}, which are "
        f"not independent: {rate:.1%} is an estimate without guarantee ({parts} alone "
        f"guarantee no rate below {1 / (parts + 1):.0%}); calibrate with good images "
        "by experiments.calibrate"
    )


def realised_bound(count: int, rank: int) -> float:
    """Upper bound, with CONFIDENCE, of the false-alarm rate of the threshold at `rank`.

    The rate of the rank-th of `count` rising scores has the distribution
    Beta(count - rank + 1, rank) for any distribution of scores without ties.
    """
    from scipy.stats import beta

    return float(beta.ppf(CONFIDENCE, count - rank + 1, rank))


def new_parts_threshold(
    varied: Scores, name: str, *, rate: float, parts: int
) -> Threshold:
    """The threshold that new good parts reach with probability `rate`, by assumption.

    A few parts do not show how parts differ. What they do not show is assumed to be as
    in public data sets: the log-odds of a new good part are normal, with the mean of
    the variations' plus `NEW_PARTS`.

    Args:
      varied: scores of the variations of `parts` good parts, each compared with the
        others.
      name: the score that the threshold applies to.
      rate: nominal false-alarm rate, in (0, 1).
    """
    above = NormalDist(*NEW_PARTS[name]).inv_cdf(1.0 - rate)
    value = from_log_odds(float(np.mean(log_odds(varied[name]))) + above)
    return Threshold(
        float(np.float32(value)),
        f"{above:.2f} in log-odds above the mean of {len(varied[name])} variations of "
        f"{parts} good part{'s' * (parts > 1)}, as far as {rate:.1%} of new good parts "
        "lie in public data sets: yours may differ more, so no rate is guaranteed; "
        "calibrate with good images by experiments.calibrate",
    )


def margin_threshold(
    good: Threshold, anomalous: Sequence[float] | np.ndarray, *, parts: int
) -> Threshold:
    """A threshold between good parts and synthetic anomalies, for few good parts.

    It is `MARGIN` of the way, in log-odds, from the `good` threshold to the median of
    the anomalies; or the `good` threshold if that median is not higher.

    Args:
      good: the `false_alarm_threshold` of variations of `parts` good parts.
      anomalous: scores of synthetic anomalies, at least one.
    """
    odds, median = float(log_odds(good.value)), float(np.median(log_odds(anomalous)))
    reach = f"the threshold of variations of {parts} good part{'s' * (parts > 1)}"
    anomalies = f"the median of {len(anomalous)} synthetic anomalies"
    if median > odds:
        odds += MARGIN * (median - odds)
        value = float(np.float32(from_log_odds(odds)))
        basis = (
            f"{MARGIN:.0%} of the way, in log-odds, from {reach} ({good.value:.4f}) to "
            f"{anomalies} ({from_log_odds(median):.4f})"
        )
    else:
        value = good.value
        basis = f"{reach}; {anomalies} is no higher ({from_log_odds(median):.4f})"
    return Threshold(
        value,
        f"{basis}: no rate is guaranteed; calibrate with good images by "
        "experiments.calibrate",
    )


def f1_threshold(
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[bool] | np.ndarray,
    *,
    what: str,
) -> Threshold:
    """The threshold of the largest F1. `what` describes the images in the statement.

    The threshold is halfway between the best score and the next lower score, so that it
    does not depend on the lowest defect's score alone.

    Raises:
      ValueError: if good or anomalous images are missing.
    """
    values = np.asarray(scores, np.float64)
    defective = np.asarray(labels, bool)
    if not defective.any() or defective.all():
        raise ValueError(
            "a threshold of the largest F1 needs good and defective images"
        )
    candidates = np.unique(values)
    called = values >= candidates[:, None]
    found = (called & defective).sum(1)
    f1 = 2 * found / (called.sum(1) + defective.sum())
    best = int(np.argmax(f1))
    below = candidates[best - 1] if best else candidates[best]
    # float32, the type of scores, so that an exported detector decides equally.
    value = float(np.float32((candidates[best] + below) / 2))
    alarms = int((called[best] & ~defective).sum())
    statement = (
        f"largest F1 ({f1[best]:.3f}) on {what}: {found[best]} of {defective.sum()} "
        f"anomalies detected, {alarms} of {(~defective).sum()} good images called "
        "anomalous"
    )
    return Threshold(value, statement)
