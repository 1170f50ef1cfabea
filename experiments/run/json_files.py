"""Reads JSON and JSON-lines files; an error names the file and the line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
      FileNotFoundError: the file is missing.
      ValueError: the file is damaged. The message names the file and the line.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_json_lines(path: Path, *, fields: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; an empty list if the file is missing.

    A damaged last line without a newline was being written. It is skipped.

    Raises:
      ValueError: a line is damaged or lacks one of `fields`. The message names the
        file and the line.
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
