"""Reading the labels of ELPV, and the fixed lists of what is trained and tested on.

labels.csv    file, probability of a defect and type, separated by spaces; no header
lists.csv     category,split,defect,file; beside this module
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datasets.builder import GOOD
from datasets.photographs import Category, Photograph
from datasets.published import ALLOW_PARTIAL
from datasets.remarks import named

LABELS = "labels.csv"
LISTS = Path(__file__).with_name("lists.csv")
PHOTOGRAPHS = 2624
TYPES = ("mono", "poly")
PROBABILITIES = (0.0, 1 / 3, 2 / 3, 1.0)
DEFECTIVE = "defective"
_PROBABILITY_OF = {GOOD: 0.0, DEFECTIVE: 1.0}
_ROUNDING = 0.01  # of the thirds in labels.csv


class Label(NamedTuple):
    """One row of labels.csv."""

    probability: float
    """Probability of a defect, one of `PROBABILITIES`."""
    type: str


class Listed(NamedTuple):
    """One row of lists.csv."""

    category: str
    split: str
    defect: str
    file: str


def read_labels(path: Path) -> dict[str, Label]:
    """The label of every photograph, by its file's path below the folder of the table.

    Raises:
      ValueError: the file is not text, or a row has another form, type or probability.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    rows = [(number, line.split()) for number, line in enumerate(lines, 1)]
    return dict(_label(f"{path}, line {number},", row) for number, row in rows if row)


def _label(where: str, row: list[str]) -> tuple[str, Label]:
    """File and label of one row. Errors begin with `where`."""
    if len(row) != len(Label._fields) + 1:
        raise ValueError(
            f"{where} must have a file, a probability and a type, got {' '.join(row)}"
        )
    file, probability, of_type = row
    if of_type not in TYPES:
        raise ValueError(
            f"{where} must have the type {' or '.join(TYPES)}, got {of_type}"
        )
    return file, Label(_probability(where, probability), of_type)


def _probability(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    for known in PROBABILITIES:
        if abs(value - known) < _ROUNDING:
            return known
    raise ValueError(f"{where} must have the probability 0, 1/3, 2/3 or 1, got {text}")


def listed(category: str) -> Iterator[Listed]:
    """The rows of lists.csv of a category, in their order."""
    with LISTS.open(encoding="utf-8", newline="") as file:
        rows = (Listed(**row) for row in csv.DictReader(file))
        yield from (row for row in rows if row.category == category)


def read_category(name: str, root: Path, *, skip_missing: bool = False) -> Category:
    """The photographs of a category that lists.csv names, split as it says.

    Args:
      root: the folder of labels.csv.
      skip_missing: skip photographs that have no label or no file.

    Raises:
      ValueError: labels.csv is incomplete, a photograph is missing, or a label is not
        that of lists.csv.
    """
    labels = read_labels(root / LABELS)
    if len(labels) != PHOTOGRAPHS and not skip_missing:
        raise ValueError(
            f"{root / LABELS} must list {PHOTOGRAPHS} photographs, lists "
            f"{len(labels)}: it is incomplete or another data set. {ALLOW_PARTIAL}"
        )
    splits: dict[str, list[Photograph]] = {"train": [], "test": []}
    missing = []
    for row in listed(name):
        path = root / row.file
        if row.file not in labels or not path.is_file():
            missing.append(row.file)
            continue
        _check_label(root / LABELS, row, labels[row.file])
        splits[row.split].append(Photograph(path, row.defect))
    if missing and not skip_missing:
        raise ValueError(
            f"{root} lacks {len(missing)} photographs of {name} that are trained or "
            f"tested on: {named(missing)}"
        )
    if not splits["train"]:
        raise ValueError(f"{root} contains no training photograph of {name}")
    return Category(name, root, splits["train"], splits["test"])


def _check_label(path: Path, row: Listed, label: Label) -> None:
    """Raise a ValueError if the two tables do not agree on a photograph."""
    expected = Label(_PROBABILITY_OF[row.defect], row.category)
    if label != expected:
        raise ValueError(
            f"{path} must label {row.file} {expected.probability:g} {expected.type}, "
            f"got {label.probability:.3g} {label.type}: it is another data set"
        )
