"""Which data sets an evaluation finds, and which it names as skipped."""

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.elpv import package
from experiments.accuracy import data_sets
from experiments.accuracy.data_sets import (
    SET_NAMES,
    Cut,
    DataSet,
    cut_from_dtd,
    find_sets,
    sampled,
)
from tests.datasets.test_real_data import DATA
from tests.tiny_run import parts

__all__ = ["parts"]  # a fixture

DTD_SAMPLE = DATA / "dtd_sample"


@pytest.fixture(autouse=True)
def without_package(monkeypatch):
    monkeypatch.setattr(package, "_MODULE", "no_such_package")


@pytest.fixture
def real(parts: Path) -> Path:
    """The folder of parts, renamed to the categories of two real data sets."""
    (parts / "plate").rename(parts / "cookie")
    (parts / "ring").rename(parts / "magnetic_tile")
    return parts


@pytest.fixture
def dtd(tmp_path: Path, monkeypatch) -> Path:
    """Two photographs of grain in DTD's layout; only these are cut."""
    cuts = {
        "cut_textures": Cut(("banded_0001", "woven_0002"), side_px=64, proportion=1),
        "tall_textures": Cut(("banded_0001", "woven_0002"), side_px=64, proportion=2.5),
    }
    sources = [
        source._replace(find=functools.partial(cut_from_dtd, what=cuts[source.name]))
        if source.name in cuts
        else source
        for source in data_sets.SOURCES
    ]
    monkeypatch.setattr(data_sets, "SOURCES", tuple(sources))
    rng = np.random.default_rng(0)
    for name in ("banded_0001", "woven_0002"):
        path = tmp_path / "dtd/images" / name.rpartition("_")[0] / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        pixels = rng.integers(60, 200, (300, 300, 3), np.uint8)
        Image.fromarray(pixels).save(path, quality=50)
    return tmp_path / "dtd"


def names_of(found: list[DataSet]) -> list[str]:
    return [data.name for data in found]


def test_a_data_set_without_its_folder_is_skipped_with_a_line(real, tmp_path):
    folders = {"tiles_dir": real, "cookies_dir": real / "cookie"}
    found, skipped = find_sets(folders, cache_dir=tmp_path)
    assert names_of(found) == ["rendered_ad", "magnetic_tile", "cookie"]
    assert found[2].data_dir == real / "cookie"
    assert found[2].categories == ("cookie",) and found[2].kind == "auto"
    version = package.PACKAGE_VERSION
    assert skipped == [
        "leather is skipped: --leather-dir is not given",
        "cut_textures is skipped: --dtd-dir is not given",
        "tall_textures is skipped: --dtd-dir is not given",
        "elpv is skipped: --elpv-dir is not given, and the package is not installed "
        f"(pip install elpv-dataset=={version})",
    ]


def test_chosen_data_sets_must_be_available(real, tmp_path):
    folders = {"tiles_dir": real}
    found, skipped = find_sets(folders, cache_dir=tmp_path, names=["rendered_ad"])
    assert names_of(found) == ["rendered_ad"] and not skipped
    with pytest.raises(ValueError, match="--data-sets leather is not available: --lea"):
        find_sets(folders, cache_dir=tmp_path, names=["magnetic_tile", "leather"])


def test_a_folder_without_the_category_is_refused_by_the_flags_name(parts, tmp_path):
    message = f"--tiles-dir {parts} must be or contain a folder magnetic_tile"
    with pytest.raises(ValueError, match=message):
        find_sets({"tiles_dir": parts}, cache_dir=tmp_path)
    with pytest.raises(
        ValueError, match=r"--elpv-dir .* must be the folder that holds"
    ):
        find_sets({"elpv_dir": parts}, cache_dir=tmp_path)


def test_solar_cells_are_found_in_a_folder_or_in_the_package(tmp_path, monkeypatch):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/labels.csv").touch()
    by_folder, _ = find_sets(
        {"elpv_dir": tmp_path / "cells"}, cache_dir=tmp_path, names=["elpv"]
    )
    expected = DataSet("elpv", "elpv", tmp_path / "cells", ("mono", "poly"))
    assert by_folder == [expected]
    monkeypatch.setattr(package, "find_installed", lambda: tmp_path / "cells")
    installed, _ = find_sets({}, cache_dir=tmp_path, names=["elpv"])
    assert installed == [expected._replace(data_dir=None)]


def test_textures_are_cut_from_dtd_once(dtd, tmp_path, monkeypatch):
    chosen = ("cut_textures", "tall_textures")
    found, _ = find_sets({"dtd_dir": dtd}, cache_dir=tmp_path / "c", names=chosen)
    assert names_of(found) == list(chosen)
    for data, height in zip(found, (64, 160), strict=True):
        assert data.kind == "texture" and data.data_dir
        assert set(datasets.categories("folder", data.data_dir)) == set(data.categories)
        category = data.data_dir / data.categories[0]
        with Image.open(category / "test/good/000.png") as part:
            assert part.size == (64, height)
        assert len(list((category / "train/good").iterdir())) == data_sets.CUT_SHOTS
    monkeypatch.setattr("experiments.cut_textures.cut", None)  # not called again
    again, _ = find_sets({"dtd_dir": dtd}, cache_dir=tmp_path / "c", names=chosen)
    assert again == found


def test_a_missing_photograph_of_dtd_is_named(dtd, tmp_path):
    path = dtd / "images/woven/woven_0002.jpg"
    path.unlink()
    message = f"--dtd-dir {dtd} lacks woven/{path.name}, which cut_textures is cut from"
    with pytest.raises(ValueError, match=message):
        find_sets({"dtd_dir": dtd}, cache_dir=tmp_path)
    Image.new("RGB", (100, 100)).save(path)
    with pytest.raises(ValueError, match=f"--dtd-dir {path} must be at least"):
        find_sets({"dtd_dir": dtd}, cache_dir=tmp_path)


def test_the_sample_is_always_the_same_and_includes_the_masks(real, tmp_path):
    root = real / "magnetic_tile"
    samples = [
        {
            str(path.relative_to(folder))
            for path in folder.rglob("*.png")
            if "train" not in path.parts
        }
        for folder in (
            sampled(root, count=4, cache_dir=tmp_path / "a"),
            sampled(root, count=4, cache_dir=tmp_path / "b"),
        )
    ]
    assert samples[0] == samples[1]
    images = [name for name in samples[0] if "/test/" in name]
    defects = {Path(name).stem for name in images if "/hole/" in name}
    masks = {Path(name).stem for name in samples[0] if "/ground_truth/" in name}
    assert len(images) == 4
    assert masks == {f"{stem}_mask" for stem in defects}
    everything = sampled(root, count=100, cache_dir=tmp_path / "c")
    assert len(list(everything.rglob("test/*/*.png"))) == 6


@pytest.mark.slow
def test_the_photographs_of_dtd_show_every_defect(tmp_path):
    if not DTD_SAMPLE.is_dir():
        pytest.skip(f"{DTD_SAMPLE} does not exist")
    chosen = ("cut_textures", "tall_textures")
    found, _ = find_sets({"dtd_dir": DTD_SAMPLE}, cache_dir=tmp_path, names=chosen)
    for data, count in zip(found, (6, 4), strict=True):
        assert data.data_dir and len(data.categories) == count
        images = list(data.data_dir.glob("*/test/*/*.png"))
        assert len(images) == 28 * count


def test_every_name_is_that_of_one_data_set():
    assert len(set(SET_NAMES)) == len(SET_NAMES)
