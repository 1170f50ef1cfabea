"""What a command has written, without what differs between two equal runs."""

import csv
import json
from pathlib import Path
from typing import Any

TIMES = ("seconds", "started", "git_commit", "git_dirty", "command", "run")
"""Fields that say when, where and how long."""
SKIPPED = ("report.html", "checkpoints", "made_with.json", "profile")
"""The page shows times. Checkpoints have them in their metadata."""


def contents(folder: Path) -> dict[str, Any]:
    """Every file below `folder` by its relative path, hidden files left out."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in SKIPPED for part in parts):
            continue
        if path.is_file():
            found["/".join(parts)] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return _without_times(list(csv.DictReader(file)))
    if path.name == "results.jsonl":
        lines = path.read_text().splitlines()
        return [_without_times(json.loads(line)) for line in lines]
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    return value
