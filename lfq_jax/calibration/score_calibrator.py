"""From a score to the share of good parts that score lower."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

_EDGE = 1e-6  # scores are clipped to [_EDGE, 1 - _EDGE] before taking log-odds


_TAIL_SHARE = 0.25  # share of the good scores, the highest, that the tail is fitted to


_TAIL_LEAST = 5  # but at least this number of scores


class CalibrationTable(NamedTuple):
    """The calibration of scores as a table, for use by other programs."""

    log_odds: list[float]
    """ln(score / (1 - score)) of the clipped scores, in rising order."""
    shares: list[float]
    """Share of good parts below each; interpolate linearly."""
    tail_scale: float
    """Beyond the last: 1 - (1 - last share) exp(-(log-odds - last) / tail_scale)."""
    edge: float
    """Scores are clipped to [edge, 1 - edge]."""


@dataclass(frozen=True)
class ScoreCalibrator:
    """Scores of good images, which calibrate a score: the share of good parts below it.

    Up to the highest score the share follows from the scores' ranks. Above, it follows
    an exponential tail in log-odds. The scale of the tail is the mean excess of the
    upper quarter (peaks over threshold in extreme-value theory, with shape 0).
    """

    scores: tuple[float, ...]
    """At least one score, in rising order, each in [0, 1]."""

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError("scores must hold at least one good image, got none")
        bad = [s for s in self.scores if not 0 <= s <= 1]
        if bad:
            raise ValueError(f"scores must be in [0, 1], got {bad[0]}")
        if list(self.scores) != sorted(self.scores):
            raise ValueError("scores must rise")

    @classmethod
    def of(cls, scores: Sequence[float] | np.ndarray) -> "ScoreCalibrator":
        """The calibration by these scores, in any order."""
        return cls(tuple(sorted(map(float, scores))))

    @property
    def tail_scale(self) -> float:
        """Scale of the exponential tail, in log-odds."""
        odds = log_odds(self.scores)
        count = max(_TAIL_LEAST, math.ceil(_TAIL_SHARE * len(odds)))
        if len(odds) > count:
            scale = float((odds[-count:] - odds[-count - 1]).mean())
        else:  # too few for a tail: an exponential's scale is its standard deviation
            scale = float(odds.std(ddof=1)) if len(odds) > 1 else 0.0
        return max(scale, 0.05)  # a scale of 0, from ties, would make the tail a step

    def share_below(self, score: float) -> float:
        """Estimated share of good parts that score lower; rises with the score."""
        table = self.as_table()
        at = float(log_odds(score))
        if at >= table.log_odds[-1]:
            beyond = math.exp(-(at - table.log_odds[-1]) / table.tail_scale)
            return 1.0 - (1.0 - table.shares[-1]) * beyond
        return float(np.interp(at, table.log_odds, table.shares))

    def as_table(self) -> CalibrationTable:
        """The table that `share_below` interpolates."""
        count = len(self.scores)
        floor = float(log_odds(0.0))
        shares = [0.0, *(rank / (count + 1) for rank in range(1, count + 1))]
        odds = [floor, *log_odds(self.scores).tolist()]
        return CalibrationTable(odds, shares, self.tail_scale, _EDGE)

    def at_share(self, share: float) -> float:
        """The score that `share` of good parts stay below, on the tail.

        The inverse of `share_below` beyond the highest score.
        """
        last = len(self.scores) / (len(self.scores) + 1)
        odds = float(log_odds(self.scores[-1]))
        odds += self.tail_scale * math.log((1.0 - last) / (1.0 - share))
        return from_log_odds(odds)


def from_log_odds(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))


def log_odds(scores: Any) -> Any:
    inside = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
    return np.log(inside) - np.log1p(-inside)
