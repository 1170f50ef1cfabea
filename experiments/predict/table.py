"""The files scores.csv and scores.json, written while photographs are scored."""

import csv
import json
import time
from pathlib import Path
from typing import Any

from experiments.predict.outputs import COLUMNS, UNREADABLE

JSON_SECONDS = 5.0  # least time between two versions of scores.json


class Table:
    """Appends rows to scores.csv, and rewrites scores.json from time to time.

    Args:
      out: folder of both files; created if it is missing.
      about: what scores.json states about the run, besides the rows.
    """

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
        """Append one row to scores.csv."""
        self.rows.append(row)
        self._csv.writerow(row)
        self._file.flush()
        if time.monotonic() - self._written > JSON_SECONDS:
            self.write_json()

    @property
    def unreadable(self) -> list[dict[str, Any]]:
        """The rows of files that could not be scored."""
        return [row for row in self.rows if row["decision"] == UNREADABLE]

    def write_json(self) -> None:
        """Write scores.json with all rows so far."""
        from datasets.files import write_atomically

        scored = [row for row in self.rows if row["decision"] != UNREADABLE]
        unreadable = [
            {"file": row["file"], "error": row["error"]} for row in self.unreadable
        ]
        content = self._about | {"images": scored, "unreadable": unreadable}
        text = json.dumps(content, indent=1) + "\n"
        write_atomically(self._json_path, text.encode())
        self._written = time.monotonic()

    def close(self) -> None:
        """Close scores.csv and write the final scores.json."""
        self._file.close()
        self.write_json()
