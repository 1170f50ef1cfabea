"""Confidence intervals of metrics by a bootstrap over images.

Images are resampled with replacement, anomalous and normal images separately, and every
metric is computed on each resample. An interval is the middle share of these values.
Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13
(percentile intervals).

`scipy.stats.bootstrap` is not used: it draws indices instead of counts per image, so
published intervals would change, and one matrix product could not sum all resamples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from lfq_jax.metrics import ground_truth
from lfq_jax.metrics.counts import Counts
from lfq_jax.metrics.values import (
    PRO_FPR_LIMITS,
    Measure,
    image_measures,
    pixel_measures,
)

BINS = 1024
"""Most bins of the score in which `PixelBootstrap` counts an image."""
_FEWEST = 2
_AT_A_TIME = 64


class Interval(NamedTuple):
    """Interval [low, high]."""

    low: float
    high: float


class Intervals(NamedTuple):
    """Intervals by the metric's name, or why there are none."""

    values: dict[str, Interval]
    not_computed: str | None


@dataclass(frozen=True)
class BootstrapConfig:
    """Settings of the bootstrap over images."""

    replicates: int = 1000
    """Number of resamples."""
    confidence: float = 0.95
    """Share of the resamples inside an interval."""
    seed: int = 0
    """Seed of the random resampling."""

    def __post_init__(self) -> None:
        if self.replicates < 1:
            raise ValueError(f"replicates must be at least 1, got {self.replicates}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be in (0, 1), got {self.confidence}")


def image_intervals(
    scores: Shaped[np.ndarray, "n"],
    labels: Shaped[np.ndarray, "n"],
    config: BootstrapConfig | None = None,
) -> Intervals:
    """Intervals of the image-level metrics.

    Args:
      scores: one per image, finite.
      labels: 1 where the image is anomalous, else 0.
      config: settings of the bootstrap. None: the defaults.
    """
    values, place = np.unique(-np.asarray(scores, np.float64), return_inverse=True)
    tied = np.zeros(len(values), bool)
    anomalous = np.asarray(labels).astype(bool)

    def counts(times: Float64[np.ndarray, "n"]) -> Counts:
        normal, found = (
            np.bincount(place, times * members, len(values))
            for members in (~anomalous, anomalous)
        )
        return Counts(-values, normal, found, np.zeros(len(values)), tied)

    return _intervals(
        anomalous, lambda drawn: map(counts, drawn), image_measures(), {}, config
    )


class PixelBootstrap:
    """Intervals of the pixel-level metrics, from a second pass over the images.

    Every image is counted in `BINS` bins of the score, 20 kB per image. The bins are
    dense where the curves of all images together bend. They change each metric itself
    by about 1e-4, and the intervals are shifted by this difference.
    """

    def __init__(self, counts: Counts) -> None:
        """Set the bins from the counts of all images, the `counts()` of the first pass.

        Raises:
          ValueError: if the counts are empty.
        """
        if not len(counts.thresholds):
            raise ValueError("counts must hold at least one pixel, got none")
        self._everything = counts
        self._edges = _edges(counts)
        self._rows: list[Float64[np.ndarray, "3 k"]] = []
        self._anomalous: list[bool] = []

    def update(
        self,
        maps: Iterable[Shaped[np.ndarray, "..."]],
        masks: Iterable[Shaped[np.ndarray, "..."]],
    ) -> None:
        """Add images, as in `StreamingPixelMetrics.update`."""
        for anomaly_map, mask in zip(maps, masks, strict=True):
            inside = ground_truth.binarise(mask).ravel()
            sizes = ground_truth.regions(inside.reshape(mask.shape))
            bins = self._bins(np.asarray(anomaly_map).ravel())
            size = len(self._edges)
            found = np.bincount(bins[inside], minlength=size)
            everything = np.bincount(bins, minlength=size)
            covered = np.bincount(bins[inside], 1.0 / sizes, size)
            self._rows.append(np.stack([everything - found, found, covered]))
            self._anomalous.append(bool(inside.any()))

    def intervals(
        self,
        config: BootstrapConfig | None = None,
        *,
        pro_fpr_limits: Sequence[float] = PRO_FPR_LIMITS,
    ) -> Intervals:
        """Intervals of all pixel-level metrics."""
        measures = pixel_measures(pro_fpr_limits)
        anomalous = np.array(self._anomalous, bool)
        rows = np.array(self._rows).reshape(len(anomalous), -1)
        thresholds = self._edges[::-1].astype(np.float64)
        in_bins = np.ones(len(thresholds), bool)

        def replicates(drawn: Float64[np.ndarray, "r n"]) -> Iterator[Counts]:
            for start in range(0, len(drawn), _AT_A_TIME):
                sums = drawn[start : start + _AT_A_TIME] @ rows
                for columns in sums.reshape(len(sums), 3, -1)[..., ::-1]:
                    yield Counts(thresholds, *columns, tied=in_bins)

        moved = {}
        if self._everything.anomalous.any() and self._everything.normal.any():
            whole = next(replicates(np.ones((1, len(anomalous)))))
            moved = {
                name: measure(self._everything) - measure(whole)
                for name, measure in measures.items()
            }
        return _intervals(anomalous, replicates, measures, moved, config)

    def _bins(self, scores: Shaped[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        return np.maximum(np.searchsorted(self._edges, scores, "right") - 1, 0)


def _edges(counts: Counts) -> Shaped[np.ndarray, "k"]:
    """Lower edges of at most `BINS` bins, in rising order, dense where the curves bend.

    The edges are evenly spaced along the sum of the quantities in the curves: recall,
    covered regions, the false-positive rate, that rate where it is small, and the share
    of false positives.
    """

    def share(values: Float64[np.ndarray, "t"]) -> Float64[np.ndarray, "t"]:
        total = np.cumsum(values)
        return total / max(total[-1], 1e-300)

    normal = share(counts.normal)
    false, true = np.cumsum(counts.normal), counts.anomalous.sum()
    along = share(counts.anomalous) + share(counts.covered) + normal
    along += np.minimum(normal / 0.05, 1.0) + false / (false + max(true, 1.0))
    wanted = np.linspace(0.0, along[-1], BINS)
    kept = np.unique(np.searchsorted(along, wanted).clip(0, len(along) - 1))
    # A threshold is the smallest score of its group, so no score is between bins.
    edges = np.unique(counts.thresholds[np.union1d(kept, [len(along) - 1])])
    narrow = edges.astype(np.float32)  # finds bins of float32 maps without a copy
    return narrow if (narrow == edges).all() else edges


def _intervals(
    anomalous: Shaped[np.ndarray, "n"],
    replicates: Callable[[np.ndarray], Iterable[Counts]],
    measures: dict[str, Measure],
    moved: dict[str, float],
    config: BootstrapConfig | None,
) -> Intervals:
    config = config or BootstrapConfig()
    for what, members in (("anomalous", anomalous), ("normal", ~anomalous)):
        if members.sum() < _FEWEST:
            reason = f"at least {_FEWEST} {what} images are needed for a bootstrap"
            return Intervals({}, f"{reason}, got {int(members.sum())}")
    drawn = _drawn(anomalous, config)
    found = np.array(
        [[f(counts) for f in measures.values()] for counts in replicates(drawn)]
    )
    outside = (1 - config.confidence) / 2
    ends = np.quantile(found, [outside, 1 - outside], axis=0)
    shift = np.array([moved.get(name, 0.0) for name in measures])
    low, high = np.clip(ends + shift, 0.0, 1.0).tolist()
    return Intervals(
        {name: Interval(low[i], high[i]) for i, name in enumerate(measures)}, None
    )


def _drawn(
    anomalous: Shaped[np.ndarray, "n"], config: BootstrapConfig
) -> Float64[np.ndarray, "r n"]:
    """How often each image is in each resample; each class keeps its size."""
    rng = np.random.default_rng(config.seed)
    drawn = np.zeros((config.replicates, len(anomalous)))
    for members in (anomalous, ~anomalous):
        count = int(members.sum())
        shares = np.full(count, 1.0 / count)
        drawn[:, members] = rng.multinomial(count, shares, config.replicates)
    return drawn
