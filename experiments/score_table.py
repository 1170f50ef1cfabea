"""The decisions about a folder of photographs, in files."""

import csv
import json
import time
from pathlib import Path
from typing import Any

from experiments.scored_image import COLUMNS, UNREADABLE

JSON_SECONDS = 5.0  # between two writings of scores.json


class Table:
    """scores.csv, a line at a time, and scores.json, whole whenever it is written."""

    def __init__(self, out: Path, about: dict[str, Any]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = []
        self._about = about
        self._json_path = out / "scores.json"
        self._file = (out / "scores.csv").open(
            "w", newline="", encoding="utf-8", errors="backslashreplace"
        )
        self._csv = csv.DictWriter(self._file, COLUMNS)
        self._csv.writeheader()
        self._written = time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self._csv.writerow(row)
        self._file.flush()
        if time.monotonic() - self._written > JSON_SECONDS:
            self.write_json()

    @property
    def unreadable(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["decision"] == UNREADABLE]

    def write_json(self) -> None:
        """All rows so far."""
        from datasets.files import write_atomically

        scored = [row for row in self.rows if row["decision"] != UNREADABLE]
        left = [{"file": r["file"], "error": r["error"]} for r in self.unreadable]
        content = self._about | {"images": scored, "unreadable": left}
        text = json.dumps(content, indent=1) + "\n"
        write_atomically(self._json_path, text.encode())
        self._written = time.monotonic()

    def close(self) -> None:
        self._file.close()
        self.write_json()
