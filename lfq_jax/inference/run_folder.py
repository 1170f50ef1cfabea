"""The detectors in a run folder. Standard library only."""

import difflib
import json
from pathlib import Path

from datasets.file_names import shell_line

DETECTOR = "detector"


def detector_folder(run: Path, category: str | None = None) -> Path:
    """The folder of one detector of a run.

    Args:
      run: `runs/<id>`, or the folder of one of its categories.
      category: which category, if the run has several.

    Raises:
      ValueError: if the run or category does not exist or has not finished.
    """
    if not run.exists():
        raise ValueError(f"run {run} does not exist")
    if not run.is_dir():
        raise ValueError(f"run {run} is a file, not a run's folder")
    if (run / DETECTOR).is_dir() and category in (None, run.resolve().name):
        return run / DETECTOR
    if not (run / "config.json").is_file():
        raise ValueError(f"run {run} holds no run: it has no config.json")
    finished = trained_categories(run)
    if category in finished:
        return run / str(category) / DETECTOR
    if not finished:
        raise ValueError(_without_detector(run))
    if category is None and len(finished) == 1:
        return run / finished[0] / DETECTOR
    names = ", ".join(finished)
    if category is None:
        raise ValueError(f"run {run} has several categories: name one of {names}")
    if (run / category).is_dir():
        raise ValueError(
            f"category {category} of {run} has not finished: resume with "
            f"python -m experiments.few_shot {shell_line('--resume', run)}"
        )
    close = difflib.get_close_matches(category, finished, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"category must be one of {names}, got {category}{hint}")


def trained_categories(run: Path) -> list[str]:
    """The categories whose training has finished, in the order they were run."""
    found = {path.parent.name: path for path in run.glob(f"*/{DETECTOR}")}
    order = sorted(found, key=lambda name: found[name].stat().st_mtime)
    return [name for name in order if found[name].is_dir()]


def _without_detector(run: Path) -> str:
    results = run / "results.jsonl"
    if results.is_file() and results.read_text().strip():
        return (
            f"run {run} was written by an older version of the project, which stored "
            "no detector: train the run again"
        )
    try:
        json.loads((run / "config.json").read_text())
    except ValueError as error:
        return f"run {run}: its config.json is damaged: {error}"
    return (
        f"run {run} did not finish: no category has been trained; resume with "
        f"python -m experiments.few_shot {shell_line('--resume', run)}"
    )
