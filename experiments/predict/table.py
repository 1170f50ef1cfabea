"""The files scores.csv and scores.json, written while photographs are scored."""

import csv
import io
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.predict.outputs import COLUMNS, UNREADABLE
from experiments.run.json_files import read_json

JSON_SECONDS = 5.0  # least time between two versions of scores.json
_TEXTS = ("file", "decision", "error")


class Table:
    """Appends rows to scores.csv, and rewrites scores.json from time to time.

    Args:
      out: folder of both files; created if it is missing.
      about: what scores.json states about the run, besides the rows.
      rows: rows that `out` has already; see `read_rows`.
    """

    def __init__(
        self, out: Path, about: dict[str, Any], rows: Iterable[dict[str, Any]] = ()
    ) -> None:
        from datasets.files import LineFile, make_folder

        make_folder(out)
        self.rows = list(rows)
        self._about = about
        self._json_path = out / "scores.json"
        lines = [_csv_line(COLUMNS), *map(_row_line, self.rows)]
        self._file = LineFile(out / "scores.csv", lines)
        self.write_json()

    def add(self, row: dict[str, Any]) -> None:
        """Append one row to scores.csv."""
        self._file.write(_row_line(row))
        self.rows.append(row)
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


def read_rows(out: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a folder that a stopped command left; none if it wrote no table.

    A last line that is cut off is left out: its photograph is scored again.

    Raises:
      ValueError: the folder was written with another detector or threshold, or its
        scores.csv has other columns.
    """
    path = out / "scores.csv"
    if not path.is_file() or not (out / "scores.json").is_file():
        return []
    before = read_json(out / "scores.json")
    for name, value in about.items():
        if name != "run" and before.get(name) != value:
            raise ValueError(
                f"--resume needs the settings of --out {out}: {name} was "
                f"{before.get(name)}, got {value}"
            )
    text = path.read_bytes().decode()
    whole = text[: text.rfind("\n") + 1]
    table = csv.DictReader(io.StringIO(whole, newline=""))
    if tuple(table.fieldnames or ()) != COLUMNS:
        raise ValueError(f"--resume: {path} has other columns than {COLUMNS}")
    return [{name: _value(name, row[name]) for name in COLUMNS} for row in table]


def _value(name: str, text: str) -> Any:
    """The value of a cell, as it was before it was written."""
    if not text:
        return None
    if name in _TEXTS:
        return text
    return int(text) if name.startswith("box_") else float(text)


def _row_line(row: dict[str, Any]) -> str:
    return _csv_line([row[name] for name in COLUMNS])


def _csv_line(cells: Iterable[Any]) -> str:
    """The cells as one line. Its end, a newline, is left to the file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r").writerow(cells)
    return buffer.getvalue()
