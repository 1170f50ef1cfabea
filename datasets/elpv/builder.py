"""The TFDS builder of ELPV (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021)."""

from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from datasets.builder import Counts, configurations
from datasets.elpv.package import (
    PACKAGE,
    PACKAGE_VERSION,
    installed,
    labels_folder,
)
from datasets.elpv.table import LABELS, TYPES, read_category
from datasets.photographs import Category
from datasets.published import PublishedBuilder

COUNTS: dict[str, Counts] = {name: Counts(60, 80, 120) for name in TYPES}


class Elpv(PublishedBuilder):
    """ELPV: electroluminescence photographs of solar cells, with image labels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"pip install {PACKAGE}=={PACKAGE_VERSION}, or put {LABELS} and the folder "
        "images into manual_dir."
    )
    BUILDER_CONFIGS: ClassVar = configurations(COUNTS)
    COUNTS: ClassVar = COUNTS
    HAS_MASKS: ClassVar = False

    @classmethod
    def default_data_dir(cls) -> Path:
        return installed()

    def _manual_dir(self, dl_manager: Any) -> Path:
        try:
            return super()._manual_dir(dl_manager)
        except AssertionError:  # how TFDS reports that there is no such folder
            return installed()

    @classmethod
    def find(
        cls,
        category: str,
        data_dir: Path,
        *,
        scratch: Path,
        allow_partial: bool = False,
        progress: bool = True,
    ) -> Category:
        del scratch, progress  # nothing is extracted
        return read_category(
            category, labels_folder(data_dir), skip_missing=allow_partial
        )

    @classmethod
    def kind(cls, category: str) -> str:
        del category
        return "texture"
