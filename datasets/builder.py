"""Base class of the builders: the features, and preparation without TensorFlow."""

import abc
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, UInt8
from tensorflow_datasets.core import dataset_metadata

from datasets.images import image_sha256, png_bytes
from datasets.progress import Bar
from datasets.remarks import Remarks, warn_once
from datasets.spill import shuffling_on_disk

GOOD = "good"
KINDS = ("texture", "object")
SPLITS = ("train", "test")
ALL = "all"
"""The configuration that holds every category."""


class Record(NamedTuple):
    """One image before it is stored."""

    key: str
    """Unique in its split: defect and file stem, e.g. `crack/003`."""
    category: str
    kind: str
    defect: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    source: str
    """The file that the image was read from, or how it was made."""
    png: bytes | None = None
    """A PNG file with exactly these pixels, if there already is one."""


class Counts(NamedTuple):
    """Numbers of images of a category."""

    train: int
    good: int
    """Good images of the test split."""
    defective: int

    def __str__(self) -> str:
        return (
            f"{self.train} train, {self.good} good and {self.defective} defective test "
            "images"
        )


def configurations(categories: Mapping[str, Any]) -> list[tfds.core.BuilderConfig]:
    """One TFDS configuration per category, and `all`."""
    return [
        tfds.core.BuilderConfig(name=name, description=f"Category {name}.")
        for name in categories
    ] + [tfds.core.BuilderConfig(name=ALL, description="Every category.")]


class AnomalyDatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Train and test split of photographs with masks, stored as array_record.

    Images are stored as PNG, so any decoder reads back the same pixels. A subclass
    defines `BUILDER_CONFIGS` and `_records`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    HAS_MASKS: ClassVar = True
    """Whether the data set marks where defects are."""
    shows_progress = True

    def __init__(self, **options: Any) -> None:
        options.setdefault("file_format", "array_record")
        self.remarks = Remarks()
        super().__init__(**options)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the builder's configuration."""
        assert self.builder_config is not None  # TFDS picks the first by default
        name = self.builder_config.name
        return (name,) if name != ALL else tuple(n for n in self._names() if n != ALL)

    @classmethod
    def _names(cls) -> list[str]:
        return [config.name for config in cls.BUILDER_CONFIGS]

    @classmethod
    def get_metadata(cls) -> dataset_metadata.DatasetMetadata:
        """README.md, CITATIONS.bib and TAGS.txt from the builder's own folder."""
        if "." not in cls.__module__:  # a single file of the user's, without a folder
            return dataset_metadata.DatasetMetadata("", "", [])
        return super().get_metadata()

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features
        return self.dataset_info_from_configs(
            description=self.__doc__,  # unless there is a README.md beside the builder
            metadata=tfds.core.MetadataDict(),
            features=features.FeaturesDict(
                {
                    "key": features.Text(),
                    "category": features.Text(),
                    "kind": features.ClassLabel(names=KINDS),
                    "defect": features.Text(),
                    "image": features.Image(
                        shape=(None, None, 3), encoding_format="png"
                    ),
                    "mask": features.Image(
                        shape=(None, None, 1), encoding_format="png"
                    ),
                    "label": features.ClassLabel(names=[GOOD, "anomalous"]),
                    "source": features.Text(),
                    "sha256": features.Text(),
                }
            ),
        )

    @abc.abstractmethod
    def _records(self, category: str, split: str) -> Iterator[Record]:
        """Yield the records of a category's `train` or `test` split."""

    def _download_and_prepare(self, *arguments: Any, **options: Any) -> None:
        with shuffling_on_disk():
            super()._download_and_prepare(*arguments, **options)
        metadata: Any = self.info.metadata
        metadata["remarks"] = self.remarks.lines()
        self.warn_of_remarks()

    def warn_of_remarks(self) -> None:
        """Log what the readers had to decide when the data set was prepared."""
        for line in (self.info.metadata or {}).get("remarks", []):
            warn_once(line)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {split: self._examples(split) for split in self._splits()}

    def _splits(self) -> tuple[str, ...]:
        """The splits that hold an image: TFDS refuses an empty split."""
        return SPLITS

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return self._examples(split)

    def _examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for category in self.categories:
            prefix = f"{category}/" if len(self.categories) > 1 else ""
            records = Bar(
                self._records(category, split),
                desc=f"{category}: preparing {split}",
                unit="image",
                disable=not self.shows_progress,
            )
            for record in records:
                key = prefix + record.key
                yield key, _encode(record) | {"key": key}


def _encode(record: Record) -> dict[str, Any]:
    """The record's fields, encoded as the features require."""
    return {
        "category": record.category,
        "kind": record.kind,
        "defect": record.defect,
        "image": record.png or png_bytes(record.image),
        "mask": png_bytes(record.mask.astype(np.uint8) * 255),
        "label": int(record.defect != GOOD),
        "source": record.source,
        "sha256": image_sha256(record.image),
    }
