"""The committed results that an evaluation is compared with, per candidate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.accuracy.data_sets import RENDERED
from experiments.report.results_table import common_settings
from experiments.run.json_files import read_json

BASELINE = Path(__file__).with_name("baseline.json")
METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
SCHEMA_VERSION = 2

Figures = dict[str, float | None]


class Result(NamedTuple):
    """Metrics of one candidate, each a mean over the seeds."""

    figures: dict[str, dict[str, Figures]]
    """By data set and category."""
    per_defect: dict[str, dict[str, Figures]]
    """By data set and kind of defect; photographs only, no rendered images."""
    settings: list[str]
    """Settings that all rows share, in words."""
    shots: int
    seeds: list[int]
    commits: list[str]
    """Commits at which the rows were measured."""


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None if there is none."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def mean_figures(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """Mean of every metric over rows that have the same metrics."""
    names = dict.fromkeys(name for figures in rows for name in figures)
    return {name: mean([figures.get(name) for figures in rows]) for name in names}


def summarise(rows: Sequence[dict[str, Any]], commits: Sequence[str]) -> Result:
    """The result of one candidate.

    Args:
      rows: rows of results.jsonl, each with the name of its data set as `part`.
      commits: commits at which the rows were measured.
    """
    figures: dict[str, dict[str, list[dict[str, Any]]]] = {}
    defects: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        part = figures.setdefault(row["part"], {})
        values = {name: row["metrics"].get(name) for name in METRICS}
        seconds = {"seconds": row["seconds"]["total"]}
        part.setdefault(row["category"], []).append(values | seconds)
        if row["dataset"] != RENDERED:
            for defect, defect_values in row["per_defect"].items():
                part_defects = defects.setdefault(row["part"], {})
                part_defects.setdefault(defect, []).append(defect_values)
    shared, _ = common_settings([{**row, "dataset": None} for row in rows])
    return Result(
        figures=_means(figures),
        per_defect=_means(defects),
        settings=[words for words in shared if not words.startswith("seed")],
        shots=rows[0]["shots"],
        seeds=sorted({row["seed"] for row in rows}),
        commits=sorted(set(commits)),
    )


def _means(
    figures: dict[str, dict[str, list[dict[str, Any]]]],
) -> dict[str, dict[str, Figures]]:
    """Means of the rows by data set, and by category or defect."""
    return {
        part: {name: mean_figures(rows) for name, rows in by_name.items()}
        for part, by_name in figures.items()
    }


def read_baseline(path: Path) -> dict[str, Result]:
    """The results by candidate; empty if the file does not exist.

    Raises:
      ValueError: if the file is damaged or has another schema version.
    """
    if not path.is_file():
        return {}
    content = read_json(path)
    try:
        version = content["schema_version"]
        results = {
            name: Result(**fields) for name, fields in content["candidates"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no baseline of this version: {error}") from None
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {version}, this version of the project reads "
            f"{SCHEMA_VERSION}: write the baseline again"
        )
    return results


def write_baseline(path: Path, results: Mapping[str, Result]) -> None:
    """Write `results` into the baseline file; other candidates keep their results."""
    from datasets.files import write_atomically

    merged = read_baseline(path) | dict(results)
    candidates = {name: result._asdict() for name, result in sorted(merged.items())}
    content = {"schema_version": SCHEMA_VERSION, "candidates": _rounded(candidates)}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _rounded(value: Any) -> Any:
    """`value` with its floats rounded to four decimals.

    Results that did not change then show no change in a diff.
    """
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return value
