"""The TFDS builder over a folder in MVTec layout. The source is only read."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds

from datasets.builder import AnomalyDatasetBuilder, Record
from datasets.folder.kind import guess_kind
from datasets.folder.layout import read_layout
from datasets.images import bit_depth, read_image, stored_maximum
from datasets.photographs import read_record

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

    def _records(self, category: str, split: str) -> Iterator[Record]:
        config = self.builder_config
        assert isinstance(config, FolderConfig)  # there are no named ones
        found = read_layout(category, Path(config.root))
        depth = bit_depth(max(stored_maximum(p.path) for p in found.train))
        kind = config.kind
        if kind == "auto":
            sample = itertools.islice(found.train, KIND_SAMPLE)
            kind = guess_kind(read_image(p.path, depth=depth) for p in sample)
        for photograph in found.train if split == "train" else found.test:
            yield read_record(found, photograph, kind=kind, depth=depth)
