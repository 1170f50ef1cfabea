"""Real photographs are read exactly, if there are any on this machine.

They are searched in $LFQUIAD_SHARED_DATA, by default ../shared/data. They are not part
of the project; without them these tests are skipped.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets

HERE = Path(__file__).parents[2]
DATA = Path(os.environ.get("LFQUIAD_SHARED_DATA", HERE.parent / "shared" / "data"))
LEATHER, TILES = DATA / "mvtec_ad_sample", DATA / "magnetic_tile"
OPTIONS = {"progress": False, "on_leak": "refuse"}


def _needs(folder: Path):
    return pytest.mark.skipif(not folder.is_dir(), reason=f"{folder} does not exist")


def _check(example: datasets.Example, category: Path, split: str) -> None:
    """Compare image and mask with what Pillow reads."""
    path = next((category / split / example.defect).glob(f"{Path(example.key).stem}.*"))
    np.testing.assert_array_equal(
        example.image, np.asarray(Image.open(path).convert("RGB"))
    )
    masks = category / "ground_truth" / example.defect
    stem = path.stem
    found = [*masks.glob(f"{stem}_mask.*"), *masks.glob(f"{stem}.*")]
    mask = np.zeros(example.mask.shape, bool)
    if found:
        mask = np.asarray(Image.open(found[0]).convert("L")) > 127
    np.testing.assert_array_equal(example.mask, mask)
    assert example.label == (example.defect != "good")


@_needs(LEATHER)
def test_the_sample_of_mvtec_ad_is_read_exactly(tmp_path):
    for split in ("train", "test"):
        found = datasets.load(
            "mvtec_ad",
            "leather",
            split,
            data_dir=LEATHER,
            cache_dir=tmp_path,
            allow_partial=True,
            **OPTIONS,
        )
        files = [*(LEATHER / "leather" / split).glob("*/*.png")]
        assert len(found) == len(files) > 0
        for example in found:
            assert example.kind == "texture"
            _check(example, LEATHER / "leather", split)


@_needs(LEATHER)
def test_the_sample_of_mvtec_ad_is_not_accepted_as_complete(tmp_path):
    with pytest.raises(ValueError, match=r"leather must have 245 train.*allow-partial"):
        datasets.load(
            "mvtec_ad", "leather", "train", data_dir=LEATHER, cache_dir=tmp_path
        )


@pytest.mark.slow
@_needs(TILES)
def test_magnetic_tiles_are_read_exactly(tmp_path):
    test = datasets.load(
        "folder",
        "magnetic_tile",
        "test",
        data_dir=TILES,
        cache_dir=tmp_path,
        kind="texture",
        **OPTIONS,
    )
    assert len(test) == len([*(TILES / "magnetic_tile/test").glob("*/*.*")])
    for example in test[::23]:
        _check(example, TILES / "magnetic_tile", "test")
