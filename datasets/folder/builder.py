"""The TFDS builder over a folder in MVTec layout. The source is only read."""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from datasets.builder import AnomalyDatasetBuilder, Record
from datasets.folder.kind import guess_kind
from datasets.folder.layout import Category, Photograph, read_layout
from datasets.images import bit_depth, read_image, read_mask, stored_maximum

log = logging.getLogger(__name__)
KIND_SAMPLE = 16  # training images that the kind is guessed from


@dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """One category of a person's own."""

    root: str = ""
    """The category's folder."""
    kind: str = "auto"
    """texture, object, or auto: guessed from the training images."""


class Folder(AnomalyDatasetBuilder):
    """A category of one's own photographs; see README.md beside this file."""

    DESCRIPTION = "A folder of photographs in the layout of MVTec AD."

    builder_config: FolderConfig

    def _records(self, split: str) -> Iterator[Record]:
        config = self.builder_config
        category = read_layout(config.name, Path(config.root))
        depth = bit_depth(max(stored_maximum(p.path) for p in category.train))
        kind = config.kind
        if kind == "auto":
            sample = itertools.islice(category.train, KIND_SAMPLE)
            kind = guess_kind(read_image(p.path, depth=depth) for p in sample)
        photographs = category.train if split == "train" else category.test
        for photograph in photographs:
            yield _read(category, photograph, kind=kind, depth=depth)


def _read(
    category: Category, photograph: Photograph, *, kind: str, depth: int
) -> Record:
    image = read_image(photograph.path, depth=depth)
    mask = np.zeros(image.shape[:2], bool)
    if photograph.mask is not None:
        mask = read_mask(photograph.mask)
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"{photograph.mask} must have its image's size "
                f"{image.shape[1]}x{image.shape[0]}, got "
                f"{mask.shape[1]}x{mask.shape[0]}"
            )
    return Record(
        key=photograph.key,
        category=category.name,
        kind=kind,
        defect=photograph.defect,
        image=image,
        mask=mask,
        source=str(photograph.path.relative_to(category.root)),
    )
