"""The TFDS builder of the rendered images."""

import importlib
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from datasets.builder import GOOD, AnomalyDatasetBuilder, Record, configurations

IMAGE_PX = 320
TRAIN_GOOD = 20
TEST_GOOD = 15
TEST_PER_DEFECT = 5
_SPLITS = {"train": 0, "test": 1}


class Rendered(NamedTuple):
    """The module that renders a category, and the category's kind."""

    module: str
    kind: str


CATEGORIES = {
    "woven_cloth": Rendered("cloth", "texture"),
    "wood_grain": Rendered("wood", "texture"),
    "stone": Rendered("stone", "texture"),
    "brushed_metal": Rendered("metal", "texture"),
    "bolt": Rendered("bolt", "object"),
    "gear": Rendered("gear", "object"),
    "capsule": Rendered("capsule", "object"),
    "circuit_board": Rendered("board", "object"),
}


class _Job(NamedTuple):
    category: str
    split: str
    defect: str
    number: int


def _jobs(category: str, split: str) -> list[_Job]:
    if split == "train":
        return [_Job(category, split, GOOD, i) for i in range(TRAIN_GOOD)]
    module = importlib.import_module(
        f"datasets.rendered_ad.{CATEGORIES[category].module}"
    )
    counts = {GOOD: TEST_GOOD} | dict.fromkeys(module.DEFECTS, TEST_PER_DEFECT)
    return [
        _Job(category, split, defect, i)
        for defect, count in counts.items()
        for i in range(count)
    ]


def render(job: _Job) -> Record:
    """Render one image, which depends only on category, split, defect and number."""
    rendered = CATEGORIES[job.category]
    module = importlib.import_module(f"datasets.rendered_ad.{rendered.module}")
    names = (job.category, job.defect)
    seed = [zlib.crc32(name.encode()) for name in names]
    rng = np.random.default_rng([*seed, _SPLITS[job.split], job.number])
    image, mask = module.render(rng, defect=job.defect, image_px=IMAGE_PX)
    return Record(
        key=f"{job.defect}/{job.number:03d}",
        category=job.category,
        kind=rendered.kind,
        defect=job.defect,
        image=image,
        mask=mask,
        source=f"rendered: {module.__name__}, {job.split}, {job.defect}, {job.number}",
    )


class RenderedAd(AnomalyDatasetBuilder):
    """Four textures and four objects, rendered; see README.md beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = configurations(CATEGORIES)

    def _records(self, category: str, split: str) -> Iterator[Record]:
        # Threads are enough, because numpy and scipy release the GIL.
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(render, _jobs(category, split))
