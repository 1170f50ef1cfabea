"""The training log of a category, metrics.jsonl, by quantity."""

import math
from pathlib import Path
from typing import Any

from experiments.run.json_files import read_json_lines

PARTS = "loss/"
VALIDATION = "validation/"
QUANTIZER = "quantizer/"
_NOT_LOSSES = ("step", "epoch", "gradient_norm")

Series = dict[str, tuple[list[float], list[float]]]


class TrainingLog:
    """The steps and values of every quantity in metrics.jsonl."""

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
        """Read metrics.jsonl; a missing file gives an empty log."""
        lines = read_json_lines(path)
        for number, line in enumerate(lines, 1):
            if not _is_number(line.get("step")):
                raise ValueError(f"{path} entry {number} has no step")
        return cls(lines)

    def losses(self) -> Series:
        """The total loss first, then its parts, each under its own name."""
        names = [n for n in self._series if n not in _NOT_LOSSES]
        names = [n for n in names if not n.startswith((VALIDATION, QUANTIZER))]
        names.sort(key=lambda name: name != "loss")
        return {name.removeprefix(PARTS): self._series[name] for name in names}

    def validation(self) -> Series:
        """Metrics on the held-out synthetic anomalies."""
        return self._under(VALIDATION)

    def quantizer(self) -> Series:
        """Statistics of the codes."""
        return self._under(QUANTIZER)

    def _under(self, prefix: str) -> Series:
        names = [n for n in self._series if n.startswith(prefix)]
        return {name.removeprefix(prefix): self._series[name] for name in names}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)
