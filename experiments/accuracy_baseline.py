"""The committed figures that an evaluation is compared with, a candidate at a time."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.run_files import read_json
from experiments.table import common_settings

BASELINE = Path(__file__).with_name("accuracy_baseline.json")
METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
SCHEMA_VERSION = 1

Figures = dict[str, float | None]


class Result(NamedTuple):
    """What a candidate reached: every figure is a mean over the seeds."""

    figures: dict[str, dict[str, Figures]]
    """By data set and category."""
    per_defect: dict[str, dict[str, Figures]]
    """By data set and defect, of real photographs."""
    settings: list[str]
    """What all rows share, in words."""
    shots: int
    seeds: list[int]
    commits: list[str]
    """Commits that the rows were measured at."""


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of those that there are; None where there is none."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def mean_figures(each: Sequence[Mapping[str, Any]]) -> Figures:
    """Mean of every figure over rows that name the same ones."""
    names = dict.fromkeys(name for figures in each for name in figures)
    return {name: mean([figures.get(name) for figures in each]) for name in names}


def summarise(rows: Sequence[dict[str, Any]], commits: Sequence[str]) -> Result:
    """The result of one candidate.

    Args:
      rows: of results.jsonl, each with the name of its data set as `part`.
      commits: that they were measured at.
    """
    figures: dict[str, dict[str, list[dict[str, Any]]]] = {}
    defects: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        part = figures.setdefault(row["part"], {})
        values = {name: row["metrics"].get(name) for name in METRICS}
        seconds = {"seconds": row["seconds"]["total"]}
        part.setdefault(row["category"], []).append(values | seconds)
        if row["dataset"] == "folder":
            for defect, found in row["per_defect"].items():
                of_part = defects.setdefault(row["part"], {})
                of_part.setdefault(defect, []).append(found)
    shared, _ = common_settings([{**row, "dataset": None} for row in rows])
    return Result(
        figures=_means(figures),
        per_defect=_means(defects),
        settings=[words for words in shared if not words.startswith("seed")],
        shots=rows[0]["shots"],
        seeds=sorted({row["seed"] for row in rows}),
        commits=sorted(set(commits)),
    )


def _means(found: dict[str, dict[str, list]]) -> dict[str, dict[str, Figures]]:
    return {
        part: {name: mean_figures(each) for name, each in of_part.items()}
        for part, of_part in found.items()
    }


def read_baseline(path: Path) -> dict[str, Result]:
    """The results by candidate; none where the file is missing.

    Raises:
      ValueError: where the file is damaged or another version's.
    """
    if not path.is_file():
        return {}
    content = read_json(path)
    try:
        version = content["schema_version"]
        found = {name: Result(**each) for name, each in content["candidates"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no baseline of this version: {error}") from None
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {version}, this version of the project reads "
            f"{SCHEMA_VERSION}: write it anew"
        )
    return found


def write_baseline(path: Path, results: Mapping[str, Result]) -> None:
    """Put `results` into the baseline; other candidates keep theirs."""
    from datasets.files import write_atomically

    merged = read_baseline(path) | dict(results)
    candidates = {name: each._asdict() for name, each in sorted(merged.items())}
    content = {"schema_version": SCHEMA_VERSION, "candidates": _rounded(candidates)}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _rounded(value: Any) -> Any:
    """Four decimals: a baseline that does not change shows no change in a diff."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value
