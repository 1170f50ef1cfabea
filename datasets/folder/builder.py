"""The TFDS builder for a folder in MVTec AD's layout. The folder is never modified."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from datasets.builder import SPLITS, AnomalyDatasetBuilder, Record
from datasets.folder.kind import guess_kind
from datasets.folder.layout import read_layout
from datasets.images import (
    UNKNOWN_DEPTH,
    bit_depth,
    is_wide,
    read_image,
    stored_maximum,
)
from datasets.photographs import Category, read_record

KIND_SAMPLE = 16  # number of training images that the kind is guessed from


@dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """One category of the user's own photographs."""

    root: str = ""
    """The category's folder."""
    kind: str = "auto"
    """texture, object, or auto, which guesses the kind from the training images."""


class Folder(AnomalyDatasetBuilder):
    """A category of your own photographs; see README.md beside this file."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "2.0.0": "All bits of 16-bit colour, and one rule for masks however saved.",
        "1.0.1": "Floats in [0, 1], and test images of more bits than training images.",
        "1.0.0": "First release.",
    }

    @property
    def _config(self) -> FolderConfig:
        assert isinstance(self.builder_config, FolderConfig)  # no named configs
        return self.builder_config

    @functools.cached_property
    def layout(self) -> Category:
        """The category's files."""
        return read_layout(self._config.name, Path(self._config.root))

    @property
    def categories(self) -> tuple[str, ...]:
        return (self._config.name,)  # a category may be called "all"

    def _splits(self) -> tuple[str, ...]:
        return SPLITS if self.layout.test else SPLITS[:1]

    def _records(self, category: str, split: str) -> Iterator[Record]:
        found = self.layout
        depth = bit_depth(max(stored_maximum(p.path) for p in found.train))
        kind = self._config.kind
        if kind == "auto":
            sample = itertools.islice(found.train, KIND_SAMPLE)
            kind = guess_kind(read_image(p.path, depth=depth) for p in sample)
        is_known = any(is_wide(p.path) for p in found.train)
        if not is_known:
            depth = UNKNOWN_DEPTH  # training images of 8 bits do not show the camera's
        for photograph in found.train if split == "train" else found.test:
            yield read_record(
                found,
                photograph,
                kind=kind,
                depth=depth,
                is_known=is_known,
                remarks=self.remarks,
            )
