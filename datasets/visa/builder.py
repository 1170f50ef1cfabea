"""The TFDS builder of VisA (Zou et al., ECCV 2022), in its one-class split."""

from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from datasets.builder import Counts, configurations
from datasets.photographs import Category
from datasets.published import PublishedBuilder
from datasets.source import Official, locate
from datasets.visa.table import SPLIT_TABLE, read_category

COUNTS = {
    "candle": Counts(900, 100, 100),
    "capsules": Counts(542, 60, 100),
    "cashew": Counts(450, 50, 100),
    "chewinggum": Counts(453, 50, 100),
    "fryum": Counts(450, 50, 100),
    "macaroni1": Counts(900, 100, 100),
    "macaroni2": Counts(900, 100, 100),
    "pcb1": Counts(904, 100, 100),
    "pcb2": Counts(901, 100, 100),
    "pcb3": Counts(905, 101, 100),
    "pcb4": Counts(904, 101, 100),
    "pipe_fryum": Counts(450, 50, 100),
}
OFFICIAL = Official(
    name="visa",
    page="https://github.com/amazon-science/spot-diff",
    archive="VisA_20220922.tar",
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
    folders=("visa", "VisA", "VisA_20220922"),
)


class Visa(PublishedBuilder):
    """VisA: 10,821 photographs of twelve objects, 9,621 normal and 1,200 anomalous."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download {OFFICIAL.archive}, which {OFFICIAL.page} links to, and put the "
        "archive, or the folders it contains, into manual_dir."
    )
    BUILDER_CONFIGS: ClassVar = configurations(COUNTS)
    COUNTS: ClassVar = COUNTS

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
        root = locate(
            OFFICIAL, SPLIT_TABLE, data_dir, scratch=scratch, progress=progress
        )
        return read_category(category, root, skip_missing=allow_partial)

    @classmethod
    def kind(cls, category: str) -> str:
        del category
        return "object"
