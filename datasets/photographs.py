"""A category's photographs on disk, and a function that reads one."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from datasets import listing
from datasets.builder import GOOD, Counts, Record
from datasets.images import MASK_THRESHOLD, read_image, read_mask, rgb_png


class Photograph(NamedTuple):
    """One image file and its mask files."""

    path: Path
    defect: str
    masks: tuple[Path, ...] = ()
    """A pixel is anomalous if one of these files marks it."""
    name: str = ""
    """Path below the folder of the defect without ending. Default: the file's stem."""

    @property
    def key(self) -> str:
        return f"{self.defect}/{self.name or self.path.stem}"


class Category(NamedTuple):
    """One category's files."""

    name: str
    root: Path
    """Folder that stored file names are relative to."""
    train: list[Photograph]
    test: list[Photograph]
    mask_threshold: int = MASK_THRESHOLD
    """A mask's pixel is anomalous if its value is above this, of 255."""
    left_out: tuple[listing.LeftOut, ...] = ()
    """What was found in the folder and is not read."""

    def notes(self) -> list[str]:
        """One line on what is not read, and one on files of which a part is read."""
        photographs = (*self.train, *self.test)
        files = (path for p in photographs for path in (p.path, *p.masks))
        return listing.notes(self.root, self.left_out, files)

    def counts(self) -> Counts:
        """Numbers of photographs, counted as in the data set's paper."""
        good = sum(photograph.defect == GOOD for photograph in self.test)
        return Counts(len(self.train), good, len(self.test) - good)

    def fingerprint(self) -> str:
        """A hash that changes when a file is added, removed or written."""
        digest = hashlib.sha256(str(self.root).encode())
        for photograph in (*self.train, *self.test):
            for path in (photograph.path, *photograph.masks):
                stat = path.stat()
                name = path.relative_to(self.root)
                line = f"{name}|{stat.st_size}|{stat.st_mtime_ns}\n"
                digest.update(line.encode())
        return digest.hexdigest()[:16]


def read_record(
    category: Category, photograph: Photograph, *, kind: str, depth: int = 8
) -> Record:
    """Read image and masks of one photograph; without a mask file the mask is empty.

    Args:
      kind: texture or object.
      depth: bit depth of grey values, see `datasets.images.read_image`.

    Raises:
      ValueError: a file cannot be read, or the mask's size differs from the image's.
    """
    image = read_image(photograph.path, depth=depth)
    mask = np.zeros(image.shape[:2], bool)
    for path in photograph.masks:
        mask |= _read_mask(path, category.mask_threshold, image.shape[:2])
    return Record(
        key=photograph.key,
        category=category.name,
        kind=kind,
        defect=photograph.defect,
        image=image,
        mask=mask,
        source=str(photograph.path.relative_to(category.root)),
        png=rgb_png(photograph.path),
    )


def _read_mask(
    path: Path, threshold: int, shape: tuple[int, ...]
) -> Bool[np.ndarray, "h w"]:
    mask = read_mask(path, threshold=threshold)
    if mask.shape != shape:
        raise ValueError(
            f"{path} must have its image's size {shape[1]}x{shape[0]}, got "
            f"{mask.shape[1]}x{mask.shape[0]}"
        )
    return mask
