"""Photographs and masks on disk, in the layouts of the published data sets."""

import csv
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.builder import GOOD
from datasets.elpv.table import LABELS, PHOTOGRAPHS, TYPES, listed

SIDE = 12


def pixels(*seed: int, side: int = SIDE) -> np.ndarray:
    """A random image u8[side side 3] that depends on the seed."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def blot(side: int = SIDE) -> np.ndarray:
    """A mask bool[side side] with one rectangle set."""
    mask = np.zeros((side, side), bool)
    mask[2:5, 3:8] = True
    return mask


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    """Save an image, create its folder if necessary, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).convert(mode).save(path)
    return path


def mvtec_category(
    root: Path,
    *,
    train: int = 3,
    good: int = 2,
    defects: Mapping[str, int] | None = None,
    side: int = SIDE,
    grey: bool = False,
    seed: int = 0,
) -> Path:
    """Write a category in MVTec AD's layout: 000.png ..., masks 000_mask.png."""
    mode = "L" if grey else "RGB"
    for i in range(train):
        save(root / f"train/good/{i:03d}.png", pixels(seed, 0, i, side=side), mode)
    for i in range(good):
        save(root / f"test/good/{i:03d}.png", pixels(seed, 1, i, side=side), mode)
    for d, (defect, count) in enumerate(sorted((defects or {}).items())):
        for i in range(count):
            image = pixels(seed, 2, d, i, side=side)
            save(root / f"test/{defect}/{i:03d}.png", image, mode)
            mask = blot(side).astype(np.uint8) * 255
            save(root / f"ground_truth/{defect}/{i:03d}_mask.png", mask)
    return root


def visa_object(root: Path, name: str, *, train: int, good: int, bad: int) -> None:
    """Write an object in VisA's layout: suffix .JPG, masks with numbers from 1."""
    images = root / name / "Data/Images"
    seed = sum(name.encode())
    for i in range(train + good):
        save(images / f"Normal/{i:04d}.JPG", pixels(seed, 0, i))
    for i in range(bad):
        save(images / f"Anomaly/{i:03d}.JPG", pixels(seed, 1, i))
        mask = blot().astype(np.uint8)
        mask[3] *= 3
        save(root / name / f"Data/Masks/Anomaly/{i:03d}.png", mask)
    normal = [f"{name}/Data/Images/Normal/{i:04d}.JPG" for i in range(train + good)]
    anomalous = [
        (
            f"{name}/Data/Images/Anomaly/{i:03d}.JPG",
            f"{name}/Data/Masks/Anomaly/{i:03d}.png",
        )
        for i in range(bad)
    ]
    rows = [(image, "normal", "") for image in normal]
    labels = ["bent", "melt,scratch"]
    rows += [(x, labels[i % 2], mask) for i, (x, mask) in enumerate(anomalous)]
    table(root / name / "image_anno.csv", ("image", "label", "mask"), rows)
    split = [
        (name, "train" if i < train else "test", "normal", image, "")
        for i, image in enumerate(normal)
    ]
    split += [(name, "test", "anomaly", image, mask) for image, mask in anomalous]
    path = root / "split_csv/1cls.csv"
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    existing = [tuple(next(csv.reader([line]))) for line in lines]
    table(path, ("object", "split", "label", "image", "mask"), existing + split)


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def packed(folder: Path, archive: Path, *, mode: str = "w:xz") -> Path:
    """Pack the contents of `folder` into a tar archive, named as in official ones."""
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return archive


def elpv_labels(root: Path) -> Path:
    """Write labels.csv in ELPV's form: the listed cells, and others up to 2,624."""
    rows = {
        row.file: (int(row.defect != GOOD), category)
        for category in TYPES
        for row in listed(category)
    }
    others = (f"images/other{i:04d}.png" for i in range(PHOTOGRAPHS - len(rows)))
    rows |= dict.fromkeys(others, (0.3333333333333333, "mono"))
    path = root / LABELS
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{file}  {float(p):<18}  {kind}\n" for file, (p, kind) in rows.items())
    path.write_text("".join(lines))
    return path


def elpv_folder(root: Path, category: str, *, side: int = 6, most: int = 120) -> Path:
    """Write labels.csv and the listed photographs of one category.

    Args:
      most: largest number of photographs of one split and label.
    """
    elpv_labels(root)
    counts: Counter[tuple[str, str]] = Counter()
    for i, row in enumerate(listed(category)):
        counts[row.split, row.defect] += 1
        if counts[row.split, row.defect] > most:
            continue
        save(root / row.file, pixels(i, side=side), "L")
    return root
