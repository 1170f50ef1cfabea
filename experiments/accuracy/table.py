"""The tables that an evaluation prints: every candidate's metrics and their changes."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.accuracy.baseline import Figures, Result, mean_figures
from experiments.report.results_table import NOT_COMPUTED, aligned, figure
from experiments.report.spread import cell, spread

_COLUMNS = (
    ("I-AUROC", "image_auroc"),
    ("P-AUROC", "pixel_auroc"),
    ("P-AP", "pixel_ap"),
    ("PRO", "pro"),
)
_SUMMARY_METRICS = ("image_auroc", "pixel_auroc", "pro")
ALL = "all data sets"
"""Row of the mean over the data sets. Each data set has the same weight."""


def set_means(result: Result) -> dict[str, Figures]:
    """Means over the categories of every data set, and the mean of these means."""
    means = {
        part: mean_figures(list(categories.values()))
        for part, categories in result.figures.items()
    }
    return means | {ALL: mean_figures(list(means.values()))}


def reason_not_comparable(result: Result, baseline: Result | None) -> str | None:
    """The reason why the two cannot be compared; None if they can."""
    if baseline is None:
        return "the baseline does not contain this candidate"
    if (result.shots, result.seeds) != (baseline.shots, baseline.seeds):
        seeds = ", ".join(map(str, baseline.seeds))
        return f"the baseline has {baseline.shots} shots and seeds {seeds}"
    return None


def change(now: float | None, before: float | None) -> str:
    """The signed difference with three decimals, or `-` if a value is missing."""
    if now is None or before is None:
        return NOT_COMPUTED
    return f"{round(now - before, 3) + 0.0:+.3f}"  # + 0.0: no negative zero


def _rows(result: Result) -> dict[str, Figures]:
    """Metrics by the label of their row, categories above their data set's mean."""
    means = set_means(result)
    rows: dict[str, Figures] = {}
    for part, categories in result.figures.items():
        if list(categories) != [part]:
            rows |= {f"  {name}": figures for name, figures in categories.items()}
        rows[part] = means[part]
    return rows | {ALL: means[ALL]} if len(result.figures) > 1 else rows


def _baseline_rows(result: Result, baseline: Result | None) -> dict[str, Figures]:
    """The baseline's rows that can be compared with those of `result`."""
    if baseline is None or reason_not_comparable(result, baseline):
        return {}
    rows = _rows(baseline)
    # A mean over fewer categories or data sets is not the same mean.
    if baseline.figures.keys() != result.figures.keys():
        rows.pop(ALL, None)
    for part, categories in result.figures.items():
        if categories.keys() != baseline.figures.get(part, {}).keys():
            rows.pop(part, None)
            rows.pop(ALL, None)
    return rows


def candidate_table(name: str, result: Result, baseline: Result | None) -> str:
    """One candidate's metrics by category, with the changes from its baseline."""
    reason = reason_not_comparable(result, baseline)
    before = _baseline_rows(result, baseline)
    heads = ["", *(w for short, _ in _COLUMNS for w in (short, "change")), "seconds"]
    lines = []
    for row, figures in _rows(result).items():
        cells = [row]
        for _, key in _COLUMNS:
            old = before.get(row, {}).get(key)
            cells += [figure(figures[key]), change(figures[key], old)]
        lines.append([*cells, f"{figures['seconds'] or 0:.0f}"])
    seeds = ", ".join(map(str, result.seeds))
    title = f"{name}: {', '.join(result.settings)}, mean over seeds {seeds}"
    notes = [f"no change is shown: {reason}"] if reason else []
    notes += _partial_means(result)
    return "\n".join([title, "", aligned(heads, lines), *notes])


def _partial_means(result: Result) -> list[str]:
    """A line on the metrics that some data sets lack, if there are any."""
    of_sets = [row for name, row in set_means(result).items() if name != ALL]
    lacking = [
        short
        for short, key in _COLUMNS
        if 0 < sum(row[key] is None for row in of_sets) < len(of_sets)
    ]
    if not lacking:
        return []
    return [f"mean of {', '.join(lacking)}: over the data sets that have it"]


def defect_table(result: Result) -> str:
    """Metrics on photographs by kind of defect; empty if there are no photographs."""
    lines = [
        [
            f"{part}, {defect}",
            f"{figures['count'] or 0:.0f}",
            *(figure(figures[key]) for key in _SUMMARY_METRICS),
        ]
        for part, defects in result.per_defect.items()
        for defect, figures in defects.items()
    ]
    heads = ["defect", "images", "I-AUROC", "P-AUROC", "PRO"]
    return aligned(heads, lines) if lines else ""


def summary(results: Mapping[str, Result], baseline: Mapping[str, Result]) -> str:
    """All candidates in one table, followed by the baseline's candidates."""
    shown = dict(results)
    shown |= {f"{name}, baseline": result for name, result in baseline.items()}
    parts = dict.fromkeys(part for r in shown.values() for part in r.figures)
    heads = ["I-AUROC / P-AUROC / PRO", *parts]
    lines = []
    for name, result in shown.items():
        means = set_means(result)
        lines.append([name, *(_summary_cell(means.get(part)) for part in parts)])
    notes = [
        f"baseline of {name}: seeds {', '.join(map(str, result.seeds))}"
        for name, result in baseline.items()
    ]
    return "\n".join([aligned(heads, lines), *notes])


def _summary_cell(figures: Figures | None) -> str:
    if figures is None:
        return NOT_COMPUTED
    return " / ".join(figure(figures[key]) for key in _SUMMARY_METRICS)


def spread_table(rows: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Mean and deviation over the seeds, by data set, backbone and method.

    Args:
      rows: rows of results.jsonl by candidate, each with its data set as `part`.
    """
    parts = dict.fromkeys(row["part"] for found in rows.values() for row in found)
    lines = []
    for part in parts:
        for candidate, found in rows.items():
            of_part = [row for row in found if row["part"] == part]
            if not of_part:
                continue
            cells = [
                cell(spread(of_part, ("metrics", key)), 3) for key in _SUMMARY_METRICS
            ]
            seconds = cell(spread(of_part, ("seconds", "total")), 0)
            backbone = str(of_part[0]["backbone"])
            lines.append(
                [part, backbone, _method(candidate, of_part[0]), *cells, seconds]
            )
    heads = ["data set", "backbone", "method", "I-AUROC", "P-AUROC", "PRO", "seconds"]
    note = (
        "mean over the categories and seeds, ± standard deviation over the seeds; "
        "seconds per category"
    )
    return f"{aligned(heads, lines)}\n{note}"


def _method(candidate: str, row: Mapping[str, Any]) -> str:
    """The method of a row: what the row says, or else the candidate's."""
    is_yardstick = candidate in ("draem", "patchcore", "patchcore_unit")
    return candidate if is_yardstick else str(row.get("method") or "lfquiad")
