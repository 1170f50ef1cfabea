"""Base class for published data sets, whose numbers of images are checked."""

import abc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from datasets.builder import SPLITS, AnomalyDatasetBuilder, Counts, Record
from datasets.photographs import Category, read_record

ALLOW_PARTIAL = "To use it anyway, set allow_partial (--allow-partial)"


class PublishedBuilder(AnomalyDatasetBuilder, skip_registration=True):
    """Builder that reads an extracted copy or the official archive in `manual_dir`.

    Args:
      allow_partial: accept a sample: do not compare the numbers of images with the
        published numbers.
    """

    COUNTS: ClassVar[Mapping[str, Counts]]

    def __init__(self, *, allow_partial: bool = False, **options: Any) -> None:
        self.allow_partial = allow_partial
        self._found: dict[str, Category] = {}
        super().__init__(**options)
        if Path(self.data_path).exists():
            self._check_prepared()

    @classmethod
    @abc.abstractmethod
    def find(
        cls,
        category: str,
        data_dir: Path,
        *,
        scratch: Path,
        allow_partial: bool = False,
        progress: bool = True,
    ) -> Category:
        """List a category's files; extract an archive below `scratch`.

        Raises:
          ValueError: the category is missing or incomplete.
        """

    @classmethod
    def default_data_dir(cls) -> Path:
        """The folder that is read if no other one is named.

        Raises:
          ValueError: there is none.
        """
        raise ValueError(f"--dataset {cls.name} needs --data-dir")

    @classmethod
    @abc.abstractmethod
    def kind(cls, category: str) -> str:
        """The category's kind: texture or object."""

    @classmethod
    def check(cls, found: Category, *, allow_partial: bool) -> None:
        """Raise a ValueError if the numbers of images are not the published ones."""
        expected = cls.COUNTS[found.name]
        if not allow_partial and found.counts() != expected:
            raise ValueError(
                f"{cls.name}/{found.name} must have {expected}; {found.root} has "
                f"{found.counts()}: it is incomplete or another data set. "
                f"{ALLOW_PARTIAL}"
            )

    def use(self, found: Category) -> None:
        """Prepare from these files instead of searching `manual_dir`."""
        self._found[found.name] = found

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        for category in self.categories:
            if category not in self._found:
                found = self.find(
                    category,
                    self._manual_dir(dl_manager),
                    scratch=Path(self.data_dir_root),
                    allow_partial=self.allow_partial,
                    progress=self.shows_progress,
                )
                self.check(found, allow_partial=self.allow_partial)
                self.use(found)
        return super()._split_generators(dl_manager)

    def _manual_dir(self, dl_manager: Any) -> Path:
        """TFDS's folder of files that the user has put there."""
        return Path(dl_manager.manual_dir)

    def _splits(self) -> tuple[str, ...]:
        tests = any(found.test for found in self._found.values())
        return SPLITS if tests else SPLITS[:1]

    def _records(self, category: str, split: str) -> Iterator[Record]:
        found = self._found[category]
        for photograph in found.train if split == "train" else found.test:
            yield read_record(
                found, photograph, kind=self.kind(category), remarks=self.remarks
            )

    def _check_prepared(self) -> None:
        """Raise a ValueError if the prepared copy is only a sample."""
        counts = [self.COUNTS[category] for category in self.categories]
        expected = {
            "train": sum(c.train for c in counts),
            "test": sum(c.good + c.defective for c in counts),
        }
        splits = self.info.splits
        found = {s: splits[s].num_examples if s in splits else 0 for s in SPLITS}
        if not self.allow_partial and found != expected:
            raise ValueError(
                f"{self.data_path} must hold {expected}, but was prepared from a "
                f"sample of {found}. {ALLOW_PARTIAL}"
            )
