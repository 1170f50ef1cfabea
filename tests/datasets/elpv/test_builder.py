"""ELPV, read from small copies of the package's files, and from the package itself."""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

import datasets
from datasets.elpv import package
from datasets.elpv.builder import COUNTS
from datasets.elpv.table import LABELS, PHOTOGRAPHS, TYPES, listed, read_labels
from datasets.images import read_image
from datasets.load import Split
from datasets.remarks import warn_once
from tests.dataset_files import elpv_folder, elpv_labels

PROJECT = Path(datasets.__file__).parent.parent


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All listed photographs of `mono`, 6 x 6 px."""
    return elpv_folder(tmp_path_factory.mktemp("elpv"), "mono")


@pytest.fixture
def copy(mono: Path, tmp_path: Path) -> Path:
    """A folder with its own labels.csv and links to the photographs."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    elpv_labels(root)
    for path in (mono / "images").iterdir():
        (root / "images" / path.name).symlink_to(path)
    return root


def load(tmp_path: Path, category: str, split: Split = "test", **options: Any):
    return datasets.load(
        "elpv", category, split, cache_dir=tmp_path / "cache", progress=False, **options
    )


def test_the_lists_have_the_documented_numbers_and_share_no_photograph():
    for category in TYPES:
        rows = list(listed(category))
        assert Counter((row.split, row.defect) for row in rows) == {
            ("train", "good"): 60,
            ("test", "good"): 80,
            ("test", "defective"): 120,
        }
        assert len({row.file for row in rows}) == len(rows) == sum(COUNTS[category])
    every = [row.file for category in TYPES for row in listed(category)]
    assert len(set(every)) == len(every)


def test_grey_photographs_with_image_labels_alone(mono, tmp_path, caplog):
    warn_once.cache_clear()
    test = load(tmp_path, "mono", data_dir=mono)
    assert Counter(example.defect for example in test) == {"good": 80, "defective": 120}
    assert {example.kind for example in test} == {"texture"}
    assert not any(example.mask.any() for example in test)
    first = test[0]
    row = next(row for row in listed("mono") if row.defect == "defective")
    assert first.key == f"defective/{Path(row.file).stem}" and first.label == 1
    np.testing.assert_array_equal(first.image, read_image(mono / row.file))
    assert (first.image == first.image[..., :1]).all()
    assert len(load(tmp_path, "mono", "train", data_dir=mono)) == 60
    assert "elpv has image labels alone, no masks" in caplog.text
    assert "have no mask or an empty mask" not in caplog.text


@pytest.mark.parametrize(
    "below", ["data", "elpv_dataset/data", "src/elpv_dataset/data"]
)
def test_the_folder_above_the_labels_is_accepted(copy, tmp_path, below):
    place = tmp_path / "above" / below
    place.parent.mkdir(parents=True)
    copy.rename(place)
    train = load(tmp_path, "mono", "train", data_dir=tmp_path / "above")
    assert len(train) == 60


def test_the_package_is_read_without_importing_it(copy, tmp_path, monkeypatch):
    module = tmp_path / "site" / "elpv_dataset"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("raise AssertionError('imported')\n")
    copy.rename(module / "data")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert package.find_installed() == module / "data"
    shots = datasets.shots(
        "elpv", "mono", 2, 0, cache_dir=tmp_path / "cache", progress=False
    )
    assert len(shots.examples) == 2
    by_tfds: Any = tfds.data_source(
        "elpv/mono", split="test", data_dir=tmp_path / "tfds"
    )
    assert len(by_tfds) == 200
    assert "elpv_dataset" not in sys.modules


def test_a_manual_dir_of_tfds_replaces_the_package(mono, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "_MODULE", "no_such_package")
    builder = tfds.builder("elpv/mono", data_dir=tmp_path)
    config = tfds.download.DownloadConfig(manual_dir=mono)
    builder.download_and_prepare(download_config=config)
    assert builder.info.splits["test"].num_examples == 200
    assert "CC BY-NC-SA 4.0" in builder.info.description
    assert "Buerhop-Lutz" in builder.info.citation
    assert "Solar Energy" in builder.info.citation


def test_a_missing_package_is_one_line_with_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "_MODULE", "no_such_package")
    wanted = f"pip install elpv-dataset=={package.PACKAGE_VERSION}, or --data-dir"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        load(tmp_path, "mono")
    pinned = f"elpv-dataset=={package.PACKAGE_VERSION}"
    assert pinned in (PROJECT / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r" mono\n\Z", " amorph\n", r"line 2624, must have the type mono or poly, got"),
        (r" mono\n\Z", "\n", "line 2624, must have a file, a probability and a type"),
        (r"0\.3333333333333333  mono\n\Z", "0.5 mono\n", "must have the probability 0"),
        (r"0\.3333333333333333  mono\n\Z", "good mono\n", r"2/3 or 1, got good"),
        (r"[^\n]*\n\Z", "", "must list 2624 photographs, lists 2623: it is incomplete"),
        (r"\A.*\Z", "", "must list 2624 photographs, lists 0"),
        (
            r"\.png  1\.0 ",
            ".png  0.0 ",
            "must label .* 1 mono, got 0 mono: it is anoth",
        ),
        (r"\A([^\n]*) mono\n", r"\1 poly\n", "must label .* 0 mono, got 0 poly"),
    ],
)
def test_labels_that_are_not_those_of_elpv_are_refused(
    copy, tmp_path, old, new, message
):
    path = copy / LABELS
    text = path.read_text()
    changed = re.sub(old, new, text, count=1, flags=re.DOTALL)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(ValueError, match=message) as refused:
        load(tmp_path, "mono", data_dir=copy)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_labels_that_are_not_text_are_refused(copy, tmp_path):
    (copy / LABELS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"labels\.csv cannot be read as a table"):
        load(tmp_path, "mono", data_dir=copy)


def test_a_missing_photograph_is_named_and_allow_partial_skips_it(copy, tmp_path):
    row = next(row for row in listed("mono") if row.split == "test")
    (copy / row.file).unlink()
    message = f"lacks 1 photographs of mono .*: {row.file}"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "mono", data_dir=copy)
    test = load(tmp_path, "mono", data_dir=copy, allow_partial=True)
    assert len(test) == 199
    with pytest.raises(ValueError, match="contains no training photograph of poly"):
        load(tmp_path, "poly", data_dir=copy, allow_partial=True)


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be the folder that holds labels\.csv"):
        load(tmp_path, "mono", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"--data-dir .*nowhere does not exist"):
        load(tmp_path, "mono", data_dir=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="got mon; did you mean mono"):
        load(tmp_path, "mon", data_dir=tmp_path)


@pytest.mark.slow
def test_the_lists_are_drawn_from_the_package_by_the_documented_rule(tmp_path):
    folder = package.find_installed()
    if folder is None:
        pytest.skip("elpv-dataset is not installed")
    labels = read_labels(folder / LABELS)
    assert len(labels) == PHOTOGRAPHS

    def drawn(category: str, probability: float) -> list[str]:
        named = (category, probability)
        files = sorted(f for f, x in labels.items() if (x.type, x.probability) == named)
        order = np.random.default_rng(0).permutation(len(files))
        return [files[int(i)] for i in order]

    for category in TYPES:
        rows = list(listed(category))
        train = {row.file for row in rows if row.split == "train"}
        good = {row.file for row in rows if row.defect == "good"} - train
        bad = {row.file for row in rows if row.defect == "defective"}
        assert train == set(drawn(category, 0.0)[:60])
        assert good == set(drawn(category, 0.0)[60:140])
        assert bad == set(drawn(category, 1.0)[:120])
        test = load(tmp_path, category)
        assert len(test) == 200
        assert {example.image.shape for example in test} == {(300, 300, 3)}
