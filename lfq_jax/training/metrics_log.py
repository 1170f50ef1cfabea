"""metrics.jsonl: the log of a training, one line per logging interval."""

import json
from pathlib import Path
from typing import Any

from datasets.files import LineFile


class MetricsFile:
    """The open log of a training that starts or resumes at `step`.

    Existing lines of later steps are removed, since the training writes them again. A
    last line that a killed process left incomplete is removed as well.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) <= step]
        self._file = LineFile(path, kept)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        self._file.write(json.dumps(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
