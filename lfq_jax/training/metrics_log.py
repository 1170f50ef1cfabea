"""metrics.jsonl: what a training logs, one line an interval."""

import json
import os
from pathlib import Path
from typing import Any


class MetricsFile:
    """Lines of a training; those after `step` are dropped, for it goes on from there.

    A last line that was cut short by a killed process is dropped, too.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) <= step]
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text("".join(f"{line}\n" for line in kept))
        temporary.replace(path)
        self._file = path.open("a")

    def write(self, line: dict[str, Any]) -> None:
        """Append one line, at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
