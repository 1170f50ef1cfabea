"""A category's photographs on disk, and a function that reads one."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets import listing
from datasets.builder import GOOD, Counts, Record
from datasets.file_names import printable
from datasets.images import read_image, rgb_png
from datasets.masks import read_mask
from datasets.remarks import Remarks


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
        """Defect and name, as valid text in one line."""
        return printable(f"{self.defect}/{self.name or self.path.stem}")


class Category(NamedTuple):
    """One category's files."""

    name: str
    root: Path
    """Folder that stored file names are relative to."""
    train: list[Photograph]
    test: list[Photograph]
    has_numbered_masks: bool = False
    """Whether the data set's masks are known to number the kinds of defect from 1."""
    left_out: tuple[listing.LeftOut, ...] = ()
    """What was found in the folder and is not read."""

    def notes(self) -> list[str]:
        """What is not read, and files of which a part is read: `listing.notes`."""
        photographs = (*self.train, *self.test)
        files = (path for p in photographs for path in (p.path, *p.masks))
        return listing.notes(self.left_out, files)

    def counts(self) -> Counts:
        """Numbers of photographs, counted as in the data set's paper."""
        good = sum(photograph.defect == GOOD for photograph in self.test)
        return Counts(len(self.train), good, len(self.test) - good)

    def fingerprint(self) -> str:
        """A hash that changes when a file is added, removed or written."""
        digest = hashlib.sha256(os.fsencode(self.root))
        for photograph in (*self.train, *self.test):
            for path in (photograph.path, *photograph.masks):
                stat = path.stat()
                name = path.relative_to(self.root)
                line = f"{name}|{stat.st_size}|{stat.st_mtime_ns}\n"
                digest.update(os.fsencode(line))
        return digest.hexdigest()[:16]


def read_record(
    category: Category,
    photograph: Photograph,
    *,
    kind: str,
    depth: int | None = None,
    is_known: bool = True,
    remarks: Remarks,
) -> Record:
    """Read image and masks of one photograph; without a mask file the mask is empty.

    Args:
      category: the photograph's category.
      photograph: the files.
      kind: texture or object.
      depth: bit depth of the camera, see `datasets.images.read_image`.
      is_known: whether training images of more than 8 bits have shown that depth.
      remarks: receives what the readers had to decide.

    Raises:
      ValueError: a file cannot be read, or `datasets.masks` refuses the mask.
    """
    path = photograph.path
    image = read_image(path, depth=depth, is_known=is_known, remarks=remarks)
    mask = np.zeros(image.shape[:2], bool)
    if photograph.masks:
        mask = read_mask(
            photograph.masks,
            path,
            image.shape[:2],
            remarks=remarks,
            is_numbered=category.has_numbered_masks,
        )
    return Record(
        key=photograph.key,
        category=category.name,
        kind=kind,
        defect=printable(photograph.defect),
        image=image,
        mask=mask,
        source=printable(str(path.relative_to(category.root))),
        png=rgb_png(path),
    )
