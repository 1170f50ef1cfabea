"""The files of a run folder, read back: JSON, JSON lines, and the training log."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PARTS = "loss/"
VALIDATION = "validation/"
QUANTIZER = "quantizer/"
_NOT_LOSSES = ("step", "epoch", "gradient_norm")

Series = dict[str, tuple[list[float], list[float]]]


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
      FileNotFoundError: where it is missing.
      ValueError: where it is damaged; the message names the file and the line.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_json_lines(path: Path, *, fields: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; none where the file is missing.

    A last line without its newline is one that was being written: it is left out.

    Raises:
      ValueError: where a line is damaged or lacks one of `fields`; the message names
        the file and the line.
    """
    if not path.is_file():
        return []
    found = []
    lines = path.read_text().split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path} line {number} is damaged: {error}") from None
        if not isinstance(value, dict):
            raise ValueError(f"{path} line {number} must be an object, got {line[:40]}")
        for field in fields:
            if field not in value:
                raise ValueError(f"{path} line {number} has no {field}")
        found.append(value)
    return found


class TrainingLog:
    """metrics.jsonl by quantity: the steps it was logged at, and its values."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._series: Series = {}
        for line in lines:
            for name, value in line.items():
                if name == "step" or not _is_number(value):
                    continue
                steps, values = self._series.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(float(value))

    @classmethod
    def read(cls, path: Path) -> "TrainingLog":
        """Read metrics.jsonl; empty where it is missing."""
        lines = read_json_lines(path)
        for number, line in enumerate(lines, 1):
            if not _is_number(line.get("step")):
                raise ValueError(f"{path} entry {number} has no step")
        return cls(lines)

    def losses(self) -> Series:
        """The total first, then its parts, each under its own name."""
        names = [n for n in self._series if n not in _NOT_LOSSES]
        names = [n for n in names if not n.startswith((VALIDATION, QUANTIZER))]
        names.sort(key=lambda name: name != "loss")
        return {name.removeprefix(PARTS): self._series[name] for name in names}

    def validation(self) -> Series:
        """Figures on the held-out synthetic anomalies."""
        return self._under(VALIDATION)

    def quantizer(self) -> Series:
        """How the codes are used."""
        return self._under(QUANTIZER)

    def _under(self, prefix: str) -> Series:
        names = [n for n in self._series if n.startswith(prefix)]
        return {name.removeprefix(prefix): self._series[name] for name in names}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)
