"""MVTec AD, VisA and DTD, read from small copies in their official layouts."""

import csv
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image
from tensorflow_datasets.core import dataset_metadata

import datasets
from datasets.dtd.builder import OFFICIAL as DTD
from datasets.load import Split
from datasets.mvtec_ad.builder import COUNTS as MVTEC_COUNTS
from datasets.mvtec_ad.builder import OFFICIAL as MVTEC
from datasets.mvtec_ad.builder import TEXTURES
from datasets.visa.builder import COUNTS as VISA_COUNTS
from datasets.visa.builder import OFFICIAL as VISA
from tests.dataset_files import blot, mvtec_category, packed, pixels, save, visa_object


def load(tmp_path, name, category, split: Split = "test", **options):
    options = {"data_dir": tmp_path / "data", "allow_partial": True} | options
    cache = tmp_path / "cache"
    return datasets.load(
        name, category, split, cache_dir=cache, progress=False, **options
    )


@pytest.fixture(scope="module")
def screws(tmp_path_factory):
    """A category with all its numbers: 320 training, 41 good and 119 defective."""
    defects = {
        "manipulated_front": 24,
        "scratch_head": 24,
        "scratch_neck": 25,
        "thread_side": 23,
        "thread_top": 23,
    }
    root = tmp_path_factory.mktemp("mvtec") / "screw"
    return mvtec_category(
        root, train=320, good=41, defects=defects, side=6, grey=True
    ).parent


@pytest.fixture
def mvtec(tmp_path):
    root = tmp_path / "data"
    mvtec_category(root / "screw", defects={"scratch_head": 2}, grey=True)
    mvtec_category(root / "grid", defects={"bent": 1, "broken": 1}, grey=True, seed=1)
    mvtec_category(root / "bottle", defects={"broken_large": 1}, seed=2)
    (root / "license.txt").touch()
    (root / "readme.txt").touch()
    return root


@pytest.fixture
def visa(tmp_path):
    root = tmp_path / "data"
    visa_object(root, "candle", train=3, good=2, bad=2)
    visa_object(root, "pcb1", train=4, good=1, bad=1)
    return root


def test_the_totals_equal_those_of_the_papers():
    mvtec, visa = MVTEC_COUNTS.values(), VISA_COUNTS.values()
    assert len(MVTEC_COUNTS) == 15 and len(TEXTURES) == 5
    assert sum(c.train for c in mvtec) == 3629
    assert sum(c.good + c.defective for c in mvtec) == 1725
    assert MVTEC_COUNTS["screw"].train == 320
    assert MVTEC_COUNTS["screw"].good + MVTEC_COUNTS["screw"].defective == 160
    assert len(VISA_COUNTS) == 12
    assert sum(c.train + c.good for c in visa) == 9621
    assert sum(c.defective for c in visa) == 1200
    assert sum(sum(c) for c in visa) == 10821


def test_tfds_reads_a_complete_category_exactly(screws, tmp_path):
    prepare = {"download_config": tfds.download.DownloadConfig(manual_dir=screws)}
    test: Any = tfds.data_source(
        "mvtec_ad/screw",
        split="test",
        data_dir=tmp_path,
        download_and_prepare_kwargs=prepare,
    )
    assert len(test) == 160
    for stored in (test[0], test[80], test[159]):
        image = np.asarray(Image.open(screws / "screw" / stored["source"].decode()))
        np.testing.assert_array_equal(stored["image"], np.stack([image] * 3, axis=-1))
        assert stored["label"] == (stored["defect"] != b"good")
    builder = tfds.builder("mvtec_ad/screw", data_dir=tmp_path)
    assert builder.info.splits["train"].num_examples == 320
    assert "CC BY-NC-SA 4.0" in builder.info.description
    assert "Bergmann" in builder.info.citation


def test_a_complete_category_needs_no_allow_partial(screws, tmp_path):
    options = {"data_dir": screws, "allow_partial": False}
    test = load(tmp_path, "mvtec_ad", "screw", **options)
    assert len(test) == 160 and not test.unmasked_defects
    assert test[0].kind == "object"


def test_a_sample_is_refused_with_both_numbers_of_images(tmp_path, mvtec, visa):
    message = (
        "screw must have 320 train, 41 good and 119 defective test images; .* has 3 "
        "train, 2 good and 2 defective .*--allow-partial"
    )
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "mvtec_ad", "screw", allow_partial=False)
    with pytest.raises(ValueError, match="candle must have 900 train, 100 good and"):
        load(tmp_path, "visa", "candle", allow_partial=False)
    assert not (tmp_path / "cache").exists()


def test_a_prepared_sample_is_not_accepted_as_complete(tmp_path, mvtec):
    config = tfds.download.DownloadConfig(manual_dir=mvtec)
    builder = tfds.builder("mvtec_ad/screw", data_dir=tmp_path, allow_partial=True)
    builder.download_and_prepare(download_config=config)
    with pytest.raises(ValueError, match="prepared from a sample of"):
        tfds.builder("mvtec_ad/screw", data_dir=tmp_path)


@pytest.mark.parametrize("place", [".", "mvtec_ad", "mvtec_anomaly_detection"])
def test_an_extracted_copy_is_found_in_common_sub_folders(tmp_path, mvtec, place):
    home = tmp_path / "home"
    shutil.copytree(mvtec, home / place, dirs_exist_ok=True)
    test = load(tmp_path, "mvtec_ad", "grid", data_dir=home)
    assert test.keys == ("bent/000", "broken/000", "good/000", "good/001")
    assert {example.kind for example in test} == {"texture"}
    assert test[0].image.shape == (12, 12, 3)
    np.testing.assert_array_equal(test[0].mask, blot())


def test_archive_and_extracted_copy_give_the_same_images(tmp_path, mvtec, caplog):
    home = tmp_path / "archives"
    home.mkdir()
    archive = packed(mvtec, home / "mvtec_anomaly_detection.tar.xz")
    before = archive.read_bytes()
    for category in ("screw", "bottle"):
        packed_test = load(tmp_path, "mvtec_ad", category, data_dir=home)
        plain = load(tmp_path, "mvtec_ad", category)
        assert packed_test.keys == plain.keys
        assert packed_test.sha256s == plain.sha256s
    assert archive.read_bytes() == before and list(home.iterdir()) == [archive]
    assert caplog.text.count("not the official archive") == 1  # extracted once
    by_file = load(tmp_path, "mvtec_ad", "screw", data_dir=archive)
    assert len(by_file) == 4


def test_the_archive_of_a_single_category_is_read(tmp_path, mvtec):
    home = tmp_path / "archives"
    home.mkdir()
    shutil.rmtree(mvtec / "grid")
    shutil.rmtree(mvtec / "bottle")
    packed(mvtec, home / "screw.tar.xz")
    assert len(load(tmp_path, "mvtec_ad", "screw", data_dir=home)) == 4
    with pytest.raises(
        ValueError, match="contains neither grid/train/good nor mvtec_an"
    ):
        load(tmp_path, "mvtec_ad", "grid", data_dir=home)


def test_another_archive_is_refused(tmp_path, visa):
    home = tmp_path / "archives"
    home.mkdir()
    packed(visa, home / "mvtec_anomaly_detection.tar.xz")
    with pytest.raises(
        ValueError, match="does not contain screw/train/good: it is not mvtec_ad"
    ):
        load(tmp_path, "mvtec_ad", "screw", data_dir=home)


def test_a_wrong_level_is_refused_with_the_right_folder(tmp_path, mvtec):
    for below in ("screw", "screw/train", "screw/train/good"):
        with pytest.raises(ValueError, match=f"is too deep: use {mvtec}$"):
            load(tmp_path, "mvtec_ad", "screw", data_dir=mvtec / below)
    with pytest.raises(ValueError, match=f"is not deep enough: use {mvtec}"):
        load(tmp_path, "mvtec_ad", "screw", data_dir=tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        load(tmp_path, "mvtec_ad", "screw", data_dir=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="--data-dir must be a folder or an archive"):
        load(tmp_path, "mvtec_ad", "screw", data_dir=mvtec / "readme.txt")
    with pytest.raises(ValueError, match="mvtec_ad needs --data-dir"):
        load(tmp_path, "mvtec_ad", "screw", data_dir=None)


def test_a_misspelt_category_is_refused_with_a_suggestion(tmp_path, mvtec):
    with pytest.raises(ValueError, match="got metalnut; did you mean metal_nut"):
        load(tmp_path, "mvtec_ad", "metalnut")


def test_keys_of_all_categories_together_are_unique(tmp_path):
    for i, category in enumerate(MVTEC_COUNTS):
        defects = {"hole": 1}
        root = tmp_path / "data" / category
        mvtec_category(root, train=1, good=1, defects=defects, side=6, seed=i)
    builder: Any = tfds.builder(
        "mvtec_ad/all", data_dir=tmp_path / "x", allow_partial=True
    )
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "data")
    builder.download_and_prepare(download_config=config)
    test: Any = builder.as_data_source(split="test")
    assert len(test) == 30
    stored = {x["key"].decode(): x["category"].decode() for x in test}
    assert stored["screw/hole/000"] == "screw" and len(stored) == 30


def test_visa_is_split_by_its_table_and_masks_become_binary(tmp_path, visa):
    test = load(tmp_path, "visa", "candle")
    train = load(tmp_path, "visa", "candle", "train")
    assert train.keys == ("good/0000", "good/0001", "good/0002")
    assert test.keys == (
        "bent/000",
        "good/0003",
        "good/0004",
        "melt + scratch/001",
    )
    np.testing.assert_array_equal(test[0].mask, blot())  # the values 1 and 3 both count
    assert [e.label for e in test] == [1, 0, 0, 1]
    photograph = Image.open(visa / "candle/Data/Images/Anomaly/000.JPG")
    np.testing.assert_array_equal(test[0].image, np.asarray(photograph))


def test_visa_reads_from_its_archive(tmp_path, visa):
    home = tmp_path / "archives"
    home.mkdir()
    packed(visa, home / "VisA_20220922.tar", mode="w:")
    packed_test = load(tmp_path, "visa", "pcb1", data_dir=home)
    assert packed_test.sha256s == load(tmp_path, "visa", "pcb1").sha256s


def test_visa_without_a_mask_or_a_table_of_defects_is_a_warning(tmp_path, visa, caplog):
    (visa / "candle/image_anno.csv").unlink()
    (visa / "candle/Data/Masks/Anomaly/001.png").unlink()
    test = load(tmp_path, "visa", "candle")
    assert test.unmasked_defects == ("anomaly/001",)
    assert "candle: 1 defective images have no mask" in caplog.text


def edited(path, change):
    with path.open(newline="") as file:
        rows = [change(row) for row in csv.reader(file)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mask", "mush", "must have the columns .* it lacks mask"),
        ("normal", "fine", "must label .*JPG normal or anomaly, got fine"),
        ("train", "val", "must assign .*JPG to train or test, got val"),
        (
            "candle/Data/Images/Normal/0000.JPG",
            "../secret.JPG",
            r"names \.\./secret\.JPG, which is not below",
        ),
    ],
)
def test_a_table_that_does_not_match_visa_is_refused(tmp_path, visa, old, new, message):
    path = visa / "split_csv/1cls.csv"
    edited(path, lambda row: [new if value == old else value for value in row])
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "visa", "candle")


def test_photographs_listed_in_visas_table_must_exist(tmp_path, visa):
    (visa / "candle/Data/Images/Normal/0000.JPG").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 photographs of candle .*0000\.JPG"):
        load(tmp_path, "visa", "candle", allow_partial=False)
    assert len(load(tmp_path, "visa", "candle", "train")) == 2
    (visa / "split_csv/1cls.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"1cls\.csv cannot be read as a table"):
        load(tmp_path, "visa", "candle")


def dtd(tmp_path, texture, **options):
    builder: Any = tfds.builder(f"dtd/{texture}", data_dir=tmp_path / "x", **options)
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "data")
    builder.download_and_prepare(download_config=config)
    return builder.as_data_source(split="train")


@pytest.mark.parametrize("place", ["", "images", "dtd/images"])
def test_dtd_photographs_are_stored_unchanged(tmp_path, place):
    home = tmp_path / "data" / place
    paths = [
        save(home / f"polka-dotted/polka-dotted_{i:04d}.jpg", pixels(i))
        for i in range(120)
    ]
    photographs = dtd(tmp_path, "polka-dotted")
    assert len(photographs) == 120
    decoded = {x["source"].decode(): x["image"] for x in photographs}
    for path in paths[:3]:
        image = np.asarray(Image.open(path))
        np.testing.assert_array_equal(decoded[f"polka-dotted/{path.name}"], image)


def test_dtd_photographs_are_counted(tmp_path):
    save(tmp_path / "data/images/banded/banded_0001.jpg", pixels(1))
    with pytest.raises(ValueError, match="must hold 120 photographs, found 1"):
        dtd(tmp_path, "banded")
    assert len(dtd(tmp_path, "banded", allow_partial=True)) == 1


def test_dtd_reads_from_its_archive(tmp_path):
    save(tmp_path / "made/dtd/images/banded/banded_0001.jpg", pixels(1))
    (tmp_path / "data").mkdir()
    packed(tmp_path / "made", tmp_path / "data/dtd-r1.0.1.tar.gz", mode="w:gz")
    assert len(dtd(tmp_path, "banded", allow_partial=True)) == 1


def test_preparation_without_progress_prints_nothing(tmp_path, mvtec, capsys, caplog):
    with caplog.at_level(logging.INFO):
        load(tmp_path, "mvtec_ad", "screw")
    assert capsys.readouterr() == ("", "")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", [*datasets.NAMES, "dtd"])
def test_every_data_set_has_a_description_and_a_citation(name):
    folder = Path(datasets.__file__).parent / name
    metadata = dataset_metadata.load(epath.Path(folder))
    assert metadata.description and metadata.citation
    assert metadata.tags and set(metadata.tags) <= set(dataset_metadata.valid_tags())


@pytest.mark.parametrize("official", [MVTEC, VISA, DTD], ids=lambda x: x.name)
def test_the_recorded_checksums_equal_the_checked_ones(official):
    builder: Any = tfds.builder_cls(official.name)
    (info,) = builder.url_infos.values()
    assert info.filename == official.archive
    assert info.checksum == official.sha256 and len(info.checksum) == 64
