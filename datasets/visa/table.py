"""Reading VisA's tables, which list the photographs of each split and their defects.

split_csv/1cls.csv           object,split,label,image,mask; training has 90 % of the
                             normal photographs, testing the rest and all anomalous ones
<object>/image_anno.csv      image,label,mask; the label names the defects
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from datasets.builder import GOOD
from datasets.photographs import Category, Photograph

SPLIT_TABLE = "split_csv/1cls.csv"
SPLIT_COLUMNS = ("object", "split", "label", "image", "mask")
DEFECT_TABLE = "image_anno.csv"
NORMAL = "normal"
ANOMALY = "anomaly"


def read_table(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file.

    Raises:
      ValueError: a column is missing, or the file is not text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise ValueError(
                    f"{path} must have the columns {', '.join(columns)}, it lacks "
                    f"{', '.join(sorted(missing))}"
                )
            yield from reader
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error


def defect_names(root: Path, name: str) -> dict[str, str]:
    """Defects of every anomalous photograph, e.g. `bent + scratch`, by file name.

    Empty if the object has no table of defects.
    """
    path = root / name / DEFECT_TABLE
    if not path.exists():
        return {}
    rows = read_table(path, ("image", "label"))
    return {row["image"]: _defects(row["label"] or "") for row in rows}


def _defects(label: str) -> str:
    parts = sorted({part.strip().replace("/", "-") for part in label.split(",")})
    return " + ".join(part for part in parts if part) or ANOMALY


def read_category(name: str, root: Path, *, skip_missing: bool = False) -> Category:
    """List the photographs of one object, split as in `split_csv/1cls.csv`.

    Args:
      skip_missing: skip photographs that the table lists but the folder lacks.

    Raises:
      ValueError: the table does not match the folder.
    """
    defects = defect_names(root, name)
    splits: dict[str, list[Photograph]] = {"train": [], "test": []}
    missing = []
    for row in read_table(root / SPLIT_TABLE, SPLIT_COLUMNS):
        if row["object"] != name:
            continue
        photograph = _photograph(root, row, defects)
        if not photograph.path.is_file():
            missing.append(row["image"])
        elif row["split"] not in splits:
            raise ValueError(
                f"{root / SPLIT_TABLE} must assign {row['image']} to train or test, "
                f"got {row['split']}"
            )
        else:
            splits[row["split"]].append(photograph)
    if missing and not skip_missing:
        raise ValueError(
            f"{root} lacks {len(missing)} photographs of {name} that {SPLIT_TABLE} "
            f"lists: {', '.join(missing[:3])}"
        )
    if not splits["train"]:
        raise ValueError(f"{root} contains no training photograph of {name}")
    train, test = splits["train"], splits["test"]
    return Category(name, root, train, test, has_numbered_masks=True)


def _photograph(root: Path, row: dict[str, str], defects: dict[str, str]) -> Photograph:
    path = _path_below(root, row["image"])
    if row["label"] == NORMAL:
        return Photograph(path, GOOD)
    if row["label"] != ANOMALY:
        raise ValueError(
            f"{root / SPLIT_TABLE} must label {row['image']} {NORMAL} or {ANOMALY}, "
            f"got {row['label']}"
        )
    mask = _path_below(root, row["mask"]) if row["mask"] else None
    masks = (mask,) if mask and mask.is_file() else ()
    return Photograph(path, defects.get(row["image"], ANOMALY), masks)


def _path_below(root: Path, name: str | None) -> Path:
    """The path of a file named in a table, checked to lie below `root`."""
    relative = PurePosixPath(name or "")
    if not name or relative.is_absolute() or ".." in relative.parts:
        raise ValueError(
            f"{root / SPLIT_TABLE} names {name}, which is not below {root}"
        )
    return root / relative
