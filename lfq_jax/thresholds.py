"""From scores to decisions (paper 3.5): where to put the threshold, and what it means.

Four rules. `max_f1`: the largest F1 on synthetic anomalies (eq. 5).
`false_alarm_rate`: from good images alone, by conformal prediction (Vovk et al. 2005).
`margin`: from there a quarter of the way to the synthetic anomalies. `labelled`: the
largest F1 on the user's own images, good and defective. A score is called anomalous
from the threshold on.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from lfq_jax.config import ImageScore, from_json

Rule = Literal["margin", "max_f1", "false_alarm_rate", "labelled"]
SCHEMA_VERSION = 1
CONFIDENCE = 0.9
"""Of the statement about the one threshold at hand, beside the mean over all draws."""
MARGIN = 0.25
"""Where `margin` lies between good parts and anomalies, in log-odds: parts to come
differ by more than variations of a few do. See docs/benchmarks.md, False alarms."""
_EDGE = 1e-6  # scores are kept this far from 0 and 1 before their log-odds are taken
_TAIL_SHARE = 0.25  # of the good scores: what the tail is fitted on
_TAIL_LEAST = 5


@dataclass(frozen=True)
class Threshold:
    """One threshold, and what is known about it."""

    value: float
    """The lowest value that is called anomalous."""
    statement: str
    """In one sentence: what it rests on and what it promises."""


class Scale(NamedTuple):
    """The calibration as a table that any program can read."""

    log_odds: list[float]
    """Rising; ln(score / (1 - score)) of the scores, kept `edge` from 0 and 1."""
    shares: list[float]
    """Share of good parts below each; interpolated linearly."""
    tail_scale: float
    """Beyond the last: 1 - (1 - last share) exp(-(log-odds - last) / tail_scale)."""
    edge: float


@dataclass(frozen=True)
class GoodScores:
    """Scores of good images, as a scale: what share of good parts scores lower?

    Between the scores by their ranks; above the highest by an exponential tail in
    log-odds, whose scale is the mean excess over the upper quarter (the peaks over a
    threshold of extreme-value theory, with shape 0).
    """

    scores: tuple[float, ...]
    """Rising, each in [0, 1]; at least one."""

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError("scores must hold at least one good image, got none")
        bad = [s for s in self.scores if not 0 <= s <= 1]
        if bad:
            raise ValueError(f"scores must be in [0, 1], got {bad[0]}")
        if list(self.scores) != sorted(self.scores):
            raise ValueError("scores must rise")

    @classmethod
    def of(cls, scores: Sequence[float] | np.ndarray) -> "GoodScores":
        return cls(tuple(sorted(map(float, scores))))

    @property
    def tail_scale(self) -> float:
        """Scale of the exponential tail, in log-odds."""
        odds = _log_odds(self.scores)
        count = max(_TAIL_LEAST, math.ceil(_TAIL_SHARE * len(odds)))
        if len(odds) > count:
            scale = float((odds[-count:] - odds[-count - 1]).mean())
        else:  # too few to see a tail: the scale that an exponential's spread has
            scale = float(odds.std(ddof=1)) if len(odds) > 1 else 0.0
        return max(scale, 0.05)  # ties must not make the scale a step

    def share_below(self, score: float) -> float:
        """Estimated share of good parts that score lower; rises with the score."""
        table = self.as_table()
        at = float(_log_odds(score))
        if at >= table.log_odds[-1]:
            beyond = math.exp(-(at - table.log_odds[-1]) / table.tail_scale)
            return 1.0 - (1.0 - table.shares[-1]) * beyond
        return float(np.interp(at, table.log_odds, table.shares))

    def as_table(self) -> Scale:
        """What `share_below` reads."""
        count = len(self.scores)
        floor = float(_log_odds(0.0))
        shares = [0.0, *(rank / (count + 1) for rank in range(1, count + 1))]
        odds = [floor, *_log_odds(self.scores).tolist()]
        return Scale(odds, shares, self.tail_scale, _EDGE)

    def at_share(self, share: float) -> float:
        """The score that `share` of good parts stay below: `share_below` backwards,
        beyond the highest score."""
        last = len(self.scores) / (len(self.scores) + 1)
        odds = float(_log_odds(self.scores[-1]))
        odds += self.tail_scale * math.log((1.0 - last) / (1.0 - share))
        return _from_log_odds(odds)


def _from_log_odds(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))


def _log_odds(scores: Any) -> Any:
    inside = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
    return np.log(inside) - np.log1p(-inside)


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
    good = GoodScores.of(scores)
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
    odds, half = float(_log_odds(good.value)), float(np.median(_log_odds(anomalous)))
    reach = f"what variations of {parts} good part{'s' * (parts > 1)} reach"
    median = f"the median of {len(anomalous)} synthetic anomalies"
    if half > odds:
        odds += MARGIN * (half - odds)
        value = float(np.float32(_from_log_odds(odds)))
        said = (
            f"{MARGIN:.0%} of the way, in log-odds, from {reach} ({good.value:.4f}) to "
            f"{median} ({_from_log_odds(half):.4f})"
        )
    else:
        value = good.value
        said = f"{reach}; {median} is no higher ({_from_log_odds(half):.4f})"
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


@dataclass(frozen=True)
class Thresholds:
    """How one detector's scores become decisions. Stored as thresholds.json."""

    image_score: ImageScore
    """The score that decides."""
    image_score_reason: str
    """Why that one."""
    rule: Rule
    """The rule that decides unless another is asked for."""
    false_alarm_rate: float
    """Nominal, of the rule of that name."""
    image: dict[str, Threshold]
    """Threshold on the image score by rule."""
    pixel: dict[str, Threshold]
    """Threshold on the map by rule: for `false_alarm_rate`, that any pixel of a good
    image is marked."""
    good: GoodScores
    """What scores are calibrated with."""
    tile_px: int
    """Width of the tiles that were scored, in the photographs' pixels; 0: whole."""
    evidence: dict[str, Any]
    """The scores that a training leaves behind; see `lfq_jax.evidence`."""

    def __post_init__(self) -> None:
        for name in ("image", "pixel"):
            if self.rule not in getattr(self, name):
                raise ValueError(f"rule {self.rule} has no {name} threshold")

    def ruled_by(self, rule: str) -> "Thresholds":
        """The same with another rule in force.

        Raises:
          ValueError: where no threshold by that rule is stored.
        """
        if rule not in self.image or rule not in self.pixel:
            known = ", ".join(self.image)
            raise ValueError(f"--rule must be one of {known}, got {rule}")
        return dataclasses.replace(self, rule=rule)  # pyright: ignore[reportArgumentType]

    @property
    def image_threshold(self) -> float:
        return self.image[self.rule].value

    @property
    def pixel_threshold(self) -> float:
        return self.pixel[self.rule].value

    def calibrated(self, score: float) -> float:
        """The score as a number that means the same in every category: the estimated
        share of good parts that score lower, in [0, 1]."""
        return self.good.share_below(score)

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Thresholds":
        """What `as_json` made.

        Raises:
          ValueError: where it is damaged or another version's.
        """
        try:
            fields = dict(content)
            version = fields.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")
            for level in ("image", "pixel"):
                fields[level] = {
                    rule: from_json(Threshold, each)
                    for rule, each in fields[level].items()
                }
            fields["good"] = GoodScores.of(fields["good"]["scores"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not thresholds of this version: {error!r}") from error
