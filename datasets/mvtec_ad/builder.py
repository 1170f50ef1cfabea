"""The TFDS builder of MVTec AD (Bergmann et al., CVPR 2019; IJCV 2021, table 1)."""

from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from datasets.builder import Counts, configurations
from datasets.folder.layout import read_layout
from datasets.photographs import Category
from datasets.published import PublishedBuilder
from datasets.source import Official, locate

COUNTS = {
    "bottle": Counts(209, 20, 63),
    "cable": Counts(224, 58, 92),
    "capsule": Counts(219, 23, 109),
    "carpet": Counts(280, 28, 89),
    "grid": Counts(264, 21, 57),
    "hazelnut": Counts(391, 40, 70),
    "leather": Counts(245, 32, 92),
    "metal_nut": Counts(220, 22, 93),
    "pill": Counts(267, 26, 141),
    "screw": Counts(320, 41, 119),
    "tile": Counts(230, 33, 84),
    "toothbrush": Counts(60, 12, 30),
    "transistor": Counts(213, 60, 40),
    "wood": Counts(247, 19, 60),
    "zipper": Counts(240, 32, 119),
}
TEXTURES = frozenset({"carpet", "grid", "leather", "tile", "wood"})
OFFICIAL = Official(
    name="mvtec_ad",
    page="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    archive="mvtec_anomaly_detection.tar.xz",
    sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    folders=("mvtec_ad", "mvtec_anomaly_detection", "mvtec"),
    part_archives={category: f"{category}.tar.xz" for category in COUNTS},
)


class MvtecAd(PublishedBuilder):
    """MVTec AD: 3629 good training photographs and 1725 test photographs."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download {OFFICIAL.archive} from {OFFICIAL.page} (after filling in a form) "
        "and put the archive, or the folders it contains, into manual_dir."
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
        del allow_partial  # lists the files there are; `check` counts them
        root = locate(
            OFFICIAL,
            f"{category}/train/good",
            data_dir,
            scratch=scratch,
            category=category,
            progress=progress,
        )
        return read_layout(category, root / category)

    @classmethod
    def kind(cls, category: str) -> str:
        return "texture" if category in TEXTURES else "object"
