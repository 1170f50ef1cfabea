"""The shared evaluation: AUROC, AP, F1-max and PRO of anomaly maps. numpy only.

The public interface to the modules below. `ground_truth` has the rule for masks and
`pixel_metrics` counts pixels. `curves` and `values` compute metrics from the counts;
`error_bounds` and `bootstrap` compute their accuracy. None of them uses a model.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lfq_jax.metrics.bootstrap import (
    BootstrapConfig,
    Interval,
    Intervals,
    PixelBootstrap,
    image_intervals,
)
from lfq_jax.metrics.counts import count_scores
from lfq_jax.metrics.ground_truth import under_rule
from lfq_jax.metrics.pixel_metrics import ExactPixelMetrics, Mode, StreamingPixelMetrics
from lfq_jax.metrics.values import (
    PRO_FPR_LIMITS,
    MetricValues,
    check_limits,
    image_figures,
)
from lfq_jax.ops.resize import to_mask_resolution

__all__ = [
    "BootstrapConfig",
    "Evaluation",
    "ExactPixelMetrics",
    "Mode",
    "StreamingPixelMetrics",
    "combined",
    "evaluate",
    "evaluate_images",
    "pixel_metrics",
    "to_mask_resolution",
    "under_rule",
]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one category. A metric that cannot be computed is None."""

    image_auroc: float | None = None
    image_ap: float | None = None
    image_f1_max: float | None = None
    image_threshold: float | None = None
    """Threshold of the largest F1: an image is anomalous if its score reaches it."""
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1_max: float | None = None
    pixel_threshold: float | None = None
    pro: float | None = None
    """PRO at the first requested limit, 0.3 by default."""
    pro_by_limit: dict[str, float] = field(default_factory=dict)
    """PRO at every limit: `pro@0.3`, `pro@0.05`."""
    error_bounds: dict[str, float] = field(default_factory=dict)
    """Largest possible error of each metric; empty if the metrics are exact."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """Confidence interval of each metric; empty without a bootstrap."""
    not_computed: dict[str, str] = field(default_factory=dict)
    """Why a metric is None or has no interval, by name."""

    def asdict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def pixel_metrics(mode: Mode) -> StreamingPixelMetrics | ExactPixelMetrics:
    """A new pixel counter for `mode`.

    Raises:
      ValueError: for an unknown mode.
    """
    if mode == "streaming":
        return StreamingPixelMetrics()
    if mode == "exact":
        return ExactPixelMetrics()
    raise ValueError(f"mode must be streaming or exact, got {mode!r}")


def evaluate(
    scores: Shaped[np.ndarray, "n"],
    labels: Shaped[np.ndarray, "n"],
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    mode: Mode = "streaming",
    pro_fpr_limit: float = 0.3,
    names: Sequence[str] | None = None,
    bootstrap: BootstrapConfig | None = None,
) -> Evaluation:
    """All metrics of one category.

    Args:
      scores: one per image; higher is more anomalous.
      labels: 1 where the image is anomalous, else 0.
      maps: [h w], at each mask's own resolution. Empty: no pixel metrics.
      masks: [h w], True (or > 127 of 255) where anomalous.
      mode: how pixels are counted. Images are always counted exactly.
      pro_fpr_limit: false-positive rate up to which `pro` is integrated.
        `pro_by_limit` also has the default limits, 0.3 and 0.05.
      names: image names for error messages; their indices by default.
      bootstrap: settings of the confidence intervals, which need a second pass over
        the maps. None: no intervals.

    Raises:
      ValueError: if scores or maps are not finite, lengths or shapes differ, or the
        limit is outside (0, 1].
    """
    check_limits([pro_fpr_limit])
    images = evaluate_images(scores, labels, names=names)
    metrics = pixel_metrics(mode)
    if len(maps) != len(masks):
        raise ValueError(
            f"maps and masks must have one length, got {len(maps)} and {len(masks)}"
        )
    map_names = names if names and len(names) == len(maps) else None
    metrics.update(maps, masks, names=map_names)
    limits = tuple(dict.fromkeys((pro_fpr_limit, *PRO_FPR_LIMITS)))
    evaluation = combined(images, metrics.compute(pro_fpr_limits=limits))
    if bootstrap is None:
        return evaluation
    return _with_intervals(
        evaluation,
        image=image_intervals(scores, labels, bootstrap),
        pixel=_pixel_intervals(metrics, maps, masks, bootstrap, limits),
    )


def _with_intervals(
    evaluation: Evaluation, *, image: Intervals, pixel: Intervals
) -> Evaluation:
    """`evaluation` with these intervals, or with the reason why there are none."""
    missing = {
        f"{level}_intervals": intervals.not_computed
        for level, intervals in (("image", image), ("pixel", pixel))
        if intervals.not_computed
    }
    return dataclasses.replace(
        evaluation,
        intervals=image.values | pixel.values,
        not_computed=evaluation.not_computed | missing,
    )


def _pixel_intervals(
    metrics: StreamingPixelMetrics | ExactPixelMetrics,
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    bootstrap: BootstrapConfig,
    limits: Sequence[float],
) -> Intervals:
    if not metrics.pixels:
        return Intervals({}, "there is no pixel")
    pixels = PixelBootstrap(metrics.counts())
    pixels.update(maps, masks)
    return pixels.intervals(bootstrap, pro_fpr_limits=limits)


def evaluate_images(
    scores: Shaped[np.ndarray, "n"],
    labels: Shaped[np.ndarray, "n"],
    *,
    names: Sequence[str] | None = None,
) -> MetricValues:
    """The image-level metrics. Arguments and errors as in `evaluate`."""
    scores = np.asarray(scores, np.float64)
    anomalous = np.asarray(labels)
    if scores.shape != anomalous.shape or scores.ndim != 1:
        raise ValueError(
            f"scores and labels must have one length, got {scores.shape} and "
            f"{anomalous.shape}"
        )
    if not np.isin(anomalous, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.unique(anomalous)[:4]}")
    finite = np.isfinite(scores)
    if not finite.all():
        bad = int(np.argmin(finite))
        name = names[bad] if names is not None else bad
        raise ValueError(f"scores must be finite, got {scores[bad]} for image {name}")
    return image_figures(count_scores(scores, scores[anomalous.astype(bool)]))


def combined(images: MetricValues, pixels: MetricValues) -> Evaluation:
    """Image-level and pixel-level metrics as one `Evaluation`."""
    pro = {k: v for k, v in pixels.values.items() if k.startswith("pro@")}
    plain = {k: v for k, v in pixels.values.items() if k not in pro}
    not_computed = images.not_computed | pixels.not_computed
    missing = [reason for name, reason in not_computed.items() if name[:4] == "pro@"]
    if missing:
        not_computed["pro"] = missing[0]
    return Evaluation(
        **images.values,  # pyright: ignore[reportArgumentType]
        **plain,  # pyright: ignore[reportArgumentType]
        pro=next(iter(pro.values()), None),
        pro_by_limit=pro,
        error_bounds=images.error_bounds | pixels.error_bounds,
        not_computed=not_computed,
    )
