"""Mean and standard deviation over the seeds, as a cell of a table."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.report.results_table import NOT_COMPUTED


class Spread(NamedTuple):
    """Mean and sample standard deviation over the seeds. One seed has no deviation."""

    mean: float
    deviation: float | None


def spread(rows: Sequence[dict[str, Any]], path: tuple[str, str]) -> Spread | None:
    """Mean and deviation over the seeds of a figure's mean over the categories.

    Seeds that lack a category are ignored: their mean would be over other images. None
    if no row has the figure.
    """
    by_seed: dict[int, dict[str, float]] = {}
    for row in rows:
        value = (row.get(path[0]) or {}).get(path[1])
        if value is not None and math.isfinite(value):
            by_seed.setdefault(row["seed"], {})[row["category"]] = value
    most = max(map(len, by_seed.values()), default=0)
    means = [
        float(np.mean(list(by_category.values())))
        for by_category in by_seed.values()
        if len(by_category) == most
    ]
    if not means:
        return None
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Spread(float(np.mean(means)), deviation)


def cell(value: Spread | None, digits: int) -> str:
    """The text of a table cell: `0.98 ±0.01`, or `-` without a value."""
    if value is None:
        return NOT_COMPUTED
    text = f"{value.mean:.{digits}f}"
    if value.deviation is None:
        return text
    return f"{text} ±{value.deviation:.{digits}f}"
