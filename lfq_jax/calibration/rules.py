"""The rules by which a threshold is chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lfq_jax.calibration.score_calibrator import (
    ScoreCalibrator,
    from_log_odds,
    log_odds,
)

CONFIDENCE = 0.9
"""Of the statement about the one threshold at hand, beside the mean over all draws."""


MARGIN = 0.25
"""Where `margin` lies between good parts and anomalies, in log-odds: parts to come
differ by more than variations of a few do. See docs/results/accuracy.md."""


@dataclass(frozen=True)
class Threshold:
    """One threshold, and what is known about it."""

    value: float
    """The lowest value that is called anomalous."""
    statement: str
    """In one sentence: what it rests on and what it promises."""


def conformal_rank(count: int, rate: float) -> int | None:
    """Which of `count` rising scores, from 1, a fresh one exceeds with probability at
    most `rate`; None where `count` is less than 1 / rate - 1, too few for any."""
    rank = math.ceil((count + 1) * (1.0 - rate) - 1e-9)
    return rank if rank <= count else None


def false_alarm_threshold(
    scores: Sequence[float] | np.ndarray, *, rate: float, parts: int | None = None
) -> Threshold:
    """The threshold that good images pass with probability `rate` at most.

    Args:
      scores: of good images, each in [0, 1].
      rate: nominal false-alarm rate, in (0, 1).
      parts: how many different parts they show, where they are variations of a few:
        such scores are not independent, and the promise falls away.

    Raises:
      ValueError: where there is no score, or the rate is outside (0, 1).
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
    said = (
        _statement(count, rank, rate) if parts is None else _of_few(count, parts, rate)
    )
    # Anomalous is from the threshold on: the good score itself must stay below.
    above = np.nextafter(np.float32(value), np.float32(math.inf))
    return Threshold(float(above), said)


def _statement(count: int, rank: int | None, rate: float) -> str:
    if rank is None:
        return (
            f"extrapolated from {count} good images by an exponential tail: "
            f"{rate:.1%} is an estimate. {count} images guarantee no rate below "
            f"{1 / (count + 1):.1%}; {math.ceil(1 / rate - 1)} would guarantee "
            f"{rate:.1%}"
        )
    return (
        f"conformal, from {count} good images: if they are drawn as later ones are, a "
        f"good image is called anomalous with probability at most {rate:.1%}, in the "
        f"mean over such draws; with {CONFIDENCE:.0%} confidence the rate of this very "
        f"threshold is at most {realised_bound(count, rank):.1%}"
    )


def _of_few(count: int, parts: int, rate: float) -> str:
    return (
        f"from {count} variations of {parts} good part{'s' * (parts > 1)}, which are "
        f"not independent: {rate:.1%} is an estimate without guarantee ({parts} alone "
        f"guarantee no rate below {1 / (parts + 1):.0%}); set it anew from good images "
        "with experiments.calibrate"
    )


def realised_bound(count: int, rank: int) -> float:
    """With CONFIDENCE, the false-alarm rate of the threshold at `rank` is below this.

    The rate of the rank-th of `count` rising scores follows Beta(count - rank + 1,
    rank), whatever the scores' distribution, if it has no ties.
    """
    from scipy.stats import beta

    return float(beta.ppf(CONFIDENCE, count - rank + 1, rank))


def margin_threshold(
    good: Threshold, anomalous: Sequence[float] | np.ndarray, *, parts: int
) -> Threshold:
    """From the threshold that few good parts give, `MARGIN` of the way, in log-odds, to
    the median of anomalies; the same threshold where that is no higher.

    Args:
      good: by `false_alarm_threshold`, of variations of `parts` good parts.
      anomalous: scores of synthetic anomalies, at least one.
    """
    odds, half = float(log_odds(good.value)), float(np.median(log_odds(anomalous)))
    reach = f"what variations of {parts} good part{'s' * (parts > 1)} reach"
    median = f"the median of {len(anomalous)} synthetic anomalies"
    if half > odds:
        odds += MARGIN * (half - odds)
        value = float(np.float32(from_log_odds(odds)))
        said = (
            f"{MARGIN:.0%} of the way, in log-odds, from {reach} ({good.value:.4f}) to "
            f"{median} ({from_log_odds(half):.4f})"
        )
    else:
        value = good.value
        said = f"{reach}; {median} is no higher ({from_log_odds(half):.4f})"
    return Threshold(
        value,
        f"{said}: no rate is promised; set it anew from good images with "
        "experiments.calibrate",
    )


def f1_threshold(
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[bool] | np.ndarray,
    *,
    what: str,
) -> Threshold:
    """The threshold of the largest F1; `what` says in words which images those are.

    It lies halfway down to the next lower score, so that it does not hug the defect
    that happens to score lowest.

    Raises:
      ValueError: where good or anomalous images are missing.
    """
    values = np.asarray(scores, np.float64)
    bad = np.asarray(labels, bool)
    if not bad.any() or bad.all():
        raise ValueError(
            "a threshold of the largest F1 needs good and defective images"
        )
    candidates = np.unique(values)
    called = values >= candidates[:, None]
    found = (called & bad).sum(1)
    f1 = 2 * found / (called.sum(1) + bad.sum())
    best = int(np.argmax(f1))
    below = candidates[best - 1] if best else candidates[best]
    # In float32, as scores are: an exported detector decides alike.
    value = float(np.float32((candidates[best] + below) / 2))
    alarms = int((called[best] & ~bad).sum())
    said = (
        f"largest F1 ({f1[best]:.3f}) on {what}: {found[best]} of {bad.sum()} "
        f"anomalies found, {alarms} of {(~bad).sum()} good ones called anomalous"
    )
    return Threshold(value, said)
