"""The figures over images and over pixels. One that cannot be computed says why."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lfq_jax import curves, error_bounds
from lfq_jax.curves import Counts

PRO_FPR_LIMITS = (0.3, 0.05)


class Figures(NamedTuple):
    """Figures by name. Every name is in `values` or in `not_computed`."""

    values: dict[str, float]
    error_bounds: dict[str, float]
    """How far a figure can be from the exact one; empty where it is exact."""
    not_computed: dict[str, str]
    """The reason, by the figure's name."""


def pro_name(fpr_limit: float) -> str:
    """What PRO up to `fpr_limit` is called: `pro@0.3`."""
    return f"pro@{fpr_limit:g}"


def check_limits(pro_fpr_limits: Sequence[float]) -> None:
    """Raises ValueError unless every limit is in (0, 1]."""
    for limit in pro_fpr_limits:
        if not 0 < limit <= 1:
            raise ValueError(f"a PRO FPR limit must be in (0, 1], got {limit}")


def image_figures(counts: Counts) -> Figures:
    """`image_auroc`, `image_ap`, `image_f1_max` and its `image_threshold`."""
    return _figures(counts, "image", {})


def pixel_figures(
    counts: Counts, *, pro_fpr_limits: Sequence[float] = PRO_FPR_LIMITS
) -> Figures:
    """As `image_figures`, over pixels, and `pro@LIMIT` for every limit.

    Raises:
      ValueError: where a limit is not in (0, 1].
    """
    check_limits(pro_fpr_limits)
    return _figures(
        counts, "pixel", {pro_name(limit): limit for limit in pro_fpr_limits}
    )


def _figures(counts: Counts, what: str, pro_limits: dict[str, float]) -> Figures:
    reason = _missing_class(counts, what)
    if reason:
        names = [f"{what}_{name}" for name in ("auroc", "ap", "f1_max", "threshold")]
        return Figures({}, {}, dict.fromkeys([*names, *pro_limits], reason))
    best, threshold = curves.f1_max(counts)
    values = {
        f"{what}_auroc": curves.auroc(counts),
        f"{what}_ap": curves.average_precision(counts),
        f"{what}_f1_max": best,
        f"{what}_threshold": threshold,
    }
    bounds: dict[str, Callable[[Counts], float]] = {
        f"{what}_auroc": error_bounds.auroc_error,
        f"{what}_ap": error_bounds.average_precision_error,
        f"{what}_f1_max": error_bounds.f1_max_error,
    }
    errors = {name: bound(counts) for name, bound in bounds.items()}
    for name, limit in pro_limits.items():
        values[name] = curves.pro(counts, fpr_limit=limit)
        errors[name] = error_bounds.pro_error(counts, fpr_limit=limit)
    return Figures(values, errors if counts.tied.any() else {}, {})


def _missing_class(counts: Counts, what: str) -> str | None:
    """Why no figure can be computed, or None."""
    if not len(counts.thresholds):
        return f"there is no {what}"
    if not counts.anomalous.any():
        return f"there is no anomalous {what}"
    if not counts.normal.any():
        return f"there is no normal {what}"
    return None
