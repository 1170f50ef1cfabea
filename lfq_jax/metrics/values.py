"""The metrics over images and over pixels, or why one cannot be computed.

To add a metric: its curve in `curves.py`, its value here, and a field of
`evaluation.Evaluation`. `experiments.measure.category_metrics.METRICS` and
`experiments.report.results_table.COLUMNS` list those of results and tables.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lfq_jax.metrics import curves, error_bounds
from lfq_jax.metrics.counts import Counts

PRO_FPR_LIMITS = (0.3, 0.05)


class MetricValues(NamedTuple):
    """Metrics by name. Every name is either in `values` or in `not_computed`."""

    values: dict[str, float]
    error_bounds: dict[str, float]
    """Largest possible error of each metric; empty if the metrics are exact."""
    not_computed: dict[str, str]
    """Why a metric cannot be computed, by the metric's name."""


def pro_name(fpr_limit: float) -> str:
    """Name of the metric PRO up to `fpr_limit`, such as `pro@0.3`."""
    return f"pro@{fpr_limit:g}"


def check_limits(pro_fpr_limits: Sequence[float]) -> None:
    """Raise ValueError unless every limit is in (0, 1]."""
    for limit in pro_fpr_limits:
        if not 0 < limit <= 1:
            raise ValueError(f"a PRO FPR limit must be in (0, 1], got {limit}")


Measure = Callable[[Counts], float]


def image_measures() -> dict[str, Measure]:
    """The functions that compute the image-level metrics, by name."""
    return _measures("image")


def pixel_measures(
    pro_fpr_limits: Sequence[float] = PRO_FPR_LIMITS,
) -> dict[str, Measure]:
    """The functions that compute the pixel-level metrics, by name.

    Raises:
      ValueError: if a limit is not in (0, 1].
    """
    check_limits(pro_fpr_limits)
    return _measures("pixel") | {
        pro_name(limit): functools.partial(curves.pro, fpr_limit=limit)
        for limit in pro_fpr_limits
    }


def _measures(what: str) -> dict[str, Measure]:
    return {
        f"{what}_auroc": curves.auroc,
        f"{what}_ap": curves.average_precision,
        f"{what}_f1_max": lambda counts: curves.f1_max(counts)[0],
    }


def image_figures(counts: Counts) -> MetricValues:
    """Metrics `image_auroc`, `image_ap`, `image_f1_max` and its `image_threshold`."""
    return _figures(counts, "image", image_measures(), {})


def pixel_figures(
    counts: Counts, *, pro_fpr_limits: Sequence[float] = PRO_FPR_LIMITS
) -> MetricValues:
    """The metrics of `image_figures` over pixels, and `pro@LIMIT` for every limit.

    Raises:
      ValueError: if a limit is not in (0, 1].
    """
    bounds: dict[str, Measure] = {
        "pixel_auroc": error_bounds.auroc_error,
        "pixel_ap": error_bounds.average_precision_error,
        "pixel_f1_max": error_bounds.f1_max_error,
    }
    for limit in pro_fpr_limits:
        bound = functools.partial(error_bounds.pro_error, fpr_limit=limit)
        bounds[pro_name(limit)] = bound
    return _figures(counts, "pixel", pixel_measures(pro_fpr_limits), bounds)


def _figures(
    counts: Counts,
    what: str,
    measures: dict[str, Measure],
    bounds: dict[str, Measure],
) -> MetricValues:
    threshold = f"{what}_threshold"
    reason = missing_class(counts, what)
    if reason:
        return MetricValues({}, {}, dict.fromkeys([*measures, threshold], reason))
    values = {name: measure(counts) for name, measure in measures.items()}
    values[threshold] = curves.f1_max(counts)[1]
    errors = {name: bound(counts) for name, bound in bounds.items()}
    return MetricValues(values, errors if counts.tied.any() else {}, {})


def missing_class(counts: Counts, what: str) -> str | None:
    """Why no metric can be computed, or None."""
    if not len(counts.thresholds):
        return f"there is no {what}"
    if not counts.anomalous.any():
        return f"there is no anomalous {what}"
    if not counts.normal.any():
        return f"there is no normal {what}"
    return None
