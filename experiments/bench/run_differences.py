"""Compare the files of two runs bit by bit, although names have changed.

A name is a segment of an array's path or of a JSON key, as in
`memory_bank/orientation/mean`. Names that have changed stand in `SYNONYMS`: both runs
are compared under the first name of each row.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SYNONYMS = (
    ("memory_bank", "reference", "bank"),
    ("extractor", "feature_extractor", "sight"),
    ("filter_bank", "filters"),
    ("anywhere", "patches"),
    ("in_place", "places"),
    ("border_baseline", "usual"),
    ("targets", "reconstruction_targets", "widest"),
    ("logistic_head", "reader", "head"),
    ("backbone", "encoder", "weights"),
    ("calibration_scores", "evidence"),
    ("head_weight", "reader_share"),
    ("score_head_weight", "score_share"),
)
"""Every name that one thing has had. Add a name to its row, or a row."""
RENAMED_VALUES = {("backbone", '"from scratch"'): '"none"'}
"""Values, as JSON, that have changed their name: (field's canonical name, old)."""
SKIPPED_FIELDS = frozenset(
    (
        *("seconds", "commit", "git_commit", "provenance", "path", "folder"),
        *("schema_version", "statement", "image_score_reason", "size_px"),
    )
)
"""Fields that may differ: times, places, versions, and sentences; and a field that
repeats what the weights' shapes and the scores show."""
SENTENCES_BY_NAME = "not_computed"
"""A field whose names count and whose sentences may differ."""

_CANONICAL = {name: row[0] for row in SYNONYMS for name in row}


class Compared(NamedTuple):
    """What the comparison of one file found."""

    file: str
    number: int
    """Arrays or fields compared."""
    unit: str
    """`arrays` or `fields`."""
    difference: str | None
    """The first difference, or None."""


def compare_runs(before: Path, after: Path) -> list[Compared]:
    """Compare every results, metrics, threshold and weights file of two run folders.

    Raises:
      ValueError: where a run has no results, or a file cannot be read.
    """
    rows = [_compare("results.jsonl", before, after, _fields, "fields")]
    names = {path.parent.name for path in before.glob("*/metrics.jsonl")}
    for category in sorted(names):
        for name in ("metrics.jsonl", "predictions.jsonl", "detector/thresholds.json"):
            row = _compare(f"{category}/{name}", before, after, _fields, "fields")
            rows.append(row)
        for name in ("weights", "validation"):
            file = f"{category}/detector/{name}.safetensors"
            rows.append(_compare(file, before, after, _arrays, "arrays"))
    return rows


def canonical(name: str) -> str:
    """The name under which an array or a field is compared."""
    return "/".join(_CANONICAL.get(part, part) for part in name.split("/"))


def _compare(
    file: str,
    before: Path,
    after: Path,
    read: Callable[[Path], dict[str, Any]],
    unit: str,
) -> Compared:
    old, new = read(before / file), read(after / file)
    differences = _differences(old, new)
    return Compared(file, len(old), unit, next(differences, None))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """One line for each name that is missing, new, or has another value."""
    for name, value in old.items():
        if name not in new:
            yield f"{name} is missing after"
        elif isinstance(value, np.ndarray):
            yield from _array_difference(name, value, new[name])
        elif value != new[name]:
            yield f"{name} was {value}, is {new[name]}"
    for name in new:
        if name not in old:
            yield f"{name} is missing before"


def _array_difference(name: str, old: np.ndarray, new: np.ndarray) -> Iterator[str]:
    if (old.shape, old.dtype) != (new.shape, new.dtype):
        yield f"{name} was {old.dtype}{old.shape}, is {new.dtype}{new.shape}"
    elif old.tobytes() != new.tobytes():
        bits = f"u{old.itemsize}"
        differ = old.view(bits) != new.view(bits)
        distance = np.abs(old[differ].astype(np.float64) - new[differ]).max()
        yield (
            f"{name} differs in {differ.sum()} of {old.size} values, "
            f"by {distance:.3g} at most"
        )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by canonical path."""
    import safetensors
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return _by_canonical_name(path, arrays.items())


def _fields(path: Path) -> dict[str, str]:
    """The values of a JSON or JSON-lines file as JSON text, by canonical path."""
    try:
        text = path.read_text()
        is_lines = path.suffix == ".jsonl"
        lines = text.splitlines() if is_lines else [text]
        values = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    named = {_line_name(i, value): value for i, value in enumerate(values, 1)}
    return _by_canonical_name(path, _flat(named if is_lines else values[0]))


def _line_name(number: int, value: Any) -> str:
    category = value.get("category") if isinstance(value, dict) else None
    return str(category or f"line {number}")


def _flat(value: Any, *parts: str) -> Iterator[tuple[str, str]]:
    """Every field below `value` that is compared, by its path."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        text = json.dumps(value)
        if parts:
            text = RENAMED_VALUES.get((canonical(parts[-1]), text), text)
        yield "/".join(parts), "a sentence" if SENTENCES_BY_NAME in parts else text
        return
    for name, below in value.items():
        if name not in SKIPPED_FIELDS:
            yield from _flat(below, *parts, str(name))


def _by_canonical_name(path: Path, items: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in items:
        key = canonical(name)
        if key in found:
            raise ValueError(f"{path} has two names that mean {key}, one is {name}")
        found[key] = value
    return found
