"""The user's own photographs: reading, refusals and messages."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.errors import one_line_errors
from datasets.load import Split, camera_bits
from datasets.remarks import warn_once
from tests.dataset_files import blot, mvtec_category, pixels, save
from tests.odd_image_files import png16, tiff


def load(tmp_path, category="part", split: Split = "test", **options):
    options = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"} | options
    return datasets.load("folder", category, split, progress=False, **options)


@pytest.fixture
def part(tmp_path):
    return mvtec_category(tmp_path / "data/part", defects={"crack": 2, "dent": 1})


def test_a_split_equals_its_files(tmp_path, part):
    test = load(tmp_path)
    assert test.keys == ("crack/000", "crack/001", "dent/000", "good/000", "good/001")
    for example in test:
        image = np.asarray(Image.open(part / f"test/{example.key}.png"))
        np.testing.assert_array_equal(example.image, image)
        assert example.label == (example.defect != "good")
        expected = blot() if example.label else np.zeros_like(blot())
        np.testing.assert_array_equal(example.mask, expected)
    assert [e.category for e in test] == ["part"] * 5
    assert load(tmp_path, split="train").keys == ("good/000", "good/001", "good/002")


def test_masks_pair_by_stem_not_by_order(tmp_path, part):
    for path in (part / "ground_truth/crack").iterdir():
        path.unlink()
    mask = np.zeros((12, 12), np.uint8)
    mask[0] = 255
    save(part / "ground_truth/crack/001_mask.png", mask)
    examples = {e.key: e for e in load(tmp_path)}
    assert examples["crack/001"].mask.sum() == 12
    assert not examples["crack/000"].mask.any()


def test_a_folder_contains_categories_or_is_one(tmp_path, part):
    mvtec_category(tmp_path / "data/other")
    (tmp_path / "data/notes").mkdir()
    assert datasets.categories("folder", tmp_path / "data") == ("other", "part")
    assert datasets.categories("folder", part) == ("part",)


def test_a_training_folder_alone_is_enough(tmp_path):
    mvtec_category(tmp_path / "data/part", good=0)
    assert len(load(tmp_path, split="train")) == 3
    assert len(load(tmp_path, split="test")) == 0


def test_images_of_mixed_formats_and_sizes_are_read(tmp_path, part):
    train = part / "train/good"
    save(train / "wide.bmp", pixels(5)[:6])
    save(train / "grey.tif", pixels(6), "L")
    save(train / "photo.jpg", pixels(7, side=20))
    (train / "Thumbs.db").write_bytes(b"no image")
    shapes = {e.key: e.image.shape for e in load(tmp_path, split="train")}
    assert len(shapes) == 6
    assert shapes["good/wide"] == (6, 12, 3) and shapes["good/photo"] == (20, 20, 3)


def test_hidden_files_and_folders_are_skipped(tmp_path, part):
    before = load(tmp_path).keys
    for name in ("train/good/._000.png", "test/crack/._000.png"):
        (part / name).write_bytes(b"metadata that macOS stores")
    (part / "ground_truth/crack/._000_mask.png").write_bytes(b"metadata")
    save(part / "test/.ipynb_checkpoints/000-checkpoint.png", pixels(9))
    assert load(tmp_path).keys == before
    assert len(load(tmp_path, split="train")) == 3


def test_sixteen_bit_images_of_a_category_share_one_scale(tmp_path, part):
    shutil.rmtree(part / "train/good")
    values = np.full((12, 12), 1000, np.uint16)
    save(part / "train/good/dim.png", values)
    values[0, 0] = 4000
    save(part / "train/good/bright.png", values)
    dim = {e.key: e for e in load(tmp_path, split="train")}["good/dim"].image
    assert (dim == 1000 >> 4).all()


def test_wide_test_images_are_read_as_16_bits_if_training_images_have_8(tmp_path, part):
    values = np.full((12, 12), 40_000, np.uint16)
    save(part / "test/good/wide.png", values)
    wide = {e.key: e for e in load(tmp_path)}["good/wide"].image
    assert (wide == 40_000 >> 8).all()


def test_a_category_may_be_called_all(tmp_path, part):
    part.rename(part.with_name("all"))
    assert [e.category for e in load(tmp_path, "all")] == ["all"] * 5


def test_the_kind_is_guessed_or_as_given(tmp_path, part):
    assert load(tmp_path)[0].kind == "texture"  # noise looks alike everywhere
    assert load(tmp_path, kind="object")[0].kind == "object"
    for path in (part / "train/good").iterdir():
        image = np.full((64, 64, 3), 30, np.uint8)
        image[20:44, 20:44] = pixels(1, side=24)
        save(path, image)
    assert load(tmp_path)[0].kind == "object"


def test_defects_without_a_mask_are_counted_in_one_warning(tmp_path, part, caplog):
    save(part / "ground_truth/crack/000_mask.png", np.zeros((12, 12), np.uint8))
    (part / "ground_truth/dent/000_mask.png").unlink()
    test = load(tmp_path)
    assert test.unmasked_defects == ("crack/000", "dent/000")
    (line,) = caplog.messages
    assert line.startswith("part: 2 defective images have no mask or an empty mask")
    assert load(tmp_path).unmasked_defects == ("crack/000", "dent/000")  # prepared


def test_how_masks_were_read_is_logged_once_and_for_a_prepared_copy_too(
    tmp_path, part, caplog
):
    numbers = np.where(blot(), np.uint8(2), np.uint8(0))
    for mask in (part / "ground_truth").rglob("*.png"):
        save(mask, numbers)
    test = load(tmp_path)
    assert all((e.mask == blot()).all() for e in test if e.label)
    (line,) = caplog.messages
    assert re.search(r"000_mask.png has the values 0 and 2: 2 is the .*\(2 other", line)
    load(tmp_path)
    assert len(caplog.messages) == 1
    warn_once.cache_clear()  # as in another process
    load(tmp_path)
    assert caplog.messages == [line, line]


@pytest.mark.parametrize(("depth", "suffix"), [(10, "png"), (12, "png"), (12, "tif")])
def test_colours_of_a_camera_of_more_bits_are_as_bright_as_its_greys(
    tmp_path, depth, suffix
):
    root = tmp_path / "data/part/train/good"
    root.mkdir(parents=True)
    image = pixels(1).astype(np.uint16)
    image[0, 0] = 255
    for i in range(2):
        wide = image << (depth - 8)
        write = tiff if suffix == "tif" else png16
        write(root / f"{i}.{suffix}", wide)
    for example in load(tmp_path, split="train"):
        np.testing.assert_array_equal(example.image, image)
    assert camera_bits("folder", "part", tmp_path / "data") == depth


def test_wide_test_images_of_narrow_training_images_are_remarked_on(
    tmp_path, part, caplog
):
    png16(part / "test/good/000.png", pixels(1).astype(np.uint16) << 4)
    load(tmp_path)
    assert any("000.png has values up to" in line for line in caplog.messages)
    assert any("16 times too dark" in line for line in caplog.messages)


def test_a_changed_folder_is_prepared_again_and_never_modified(tmp_path, part):
    before = sorted(part.rglob("*"))
    first = load(tmp_path, split="train")
    save(part / "train/good/000.png", pixels(99))
    second = load(tmp_path, split="train")
    assert first.sha256s[0] != second.sha256s[0]
    assert first.sha256s[1:] == second.sha256s[1:]
    assert sorted(part.rglob("*")) == before


def refused(tmp_path, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_a_wrong_folder_is_refused(tmp_path, part):
    refused(tmp_path, "nowhere does not exist", data_dir=tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(tmp_path, "empty is empty", data_dir=empty)
    (empty / "notes.txt").touch()
    refused(tmp_path, "contains no category", data_dir=empty)
    refused(tmp_path, "is a file", data_dir=empty / "notes.txt")
    refused(tmp_path, "needs --data-dir", data_dir=None)


def test_a_wrong_level_is_refused_with_the_right_folder(tmp_path, part):
    refused(tmp_path, f"is not deep enough: use {part.parent}", data_dir=tmp_path)
    for below in ("train", "test", "ground_truth", "train/good"):
        refused(tmp_path, f"is too deep: use {part}$", data_dir=part / below)


def test_a_misspelt_category_is_refused_with_a_suggestion(tmp_path, part):
    refused(tmp_path, "got prt; did you mean part", category="prt")
    with pytest.raises(ValueError, match="got foldr; did you mean folder"):
        datasets.categories("foldr", tmp_path)


def test_an_empty_training_folder_is_refused(tmp_path, part):
    shutil.rmtree(part / "train/good")
    (part / "train/good").mkdir()
    refused(tmp_path, "train/good holds no image")


def test_contradictory_files_are_named(tmp_path, part):
    (part / "test/crack/000.JPG").write_bytes(b"")
    refused(tmp_path, r"000\.png and 000\.JPG have the same stem")
    (part / "test/crack/000.JPG").unlink()
    save(part / "ground_truth/crack/777_mask.png", np.zeros((12, 12), np.uint8))
    refused(tmp_path, "1 mask of .*/crack without a photograph .*777_mask.png")
    (part / "ground_truth/crack/777_mask.png").unlink()
    save(part / "ground_truth/crack/000_mask.png", np.zeros((12, 9), np.uint8))
    refused(tmp_path, r"000_mask\.png must have the size of .*, 12x12, got 9x12")


def test_ctrl_c_ends_in_one_line_and_status_130(capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nhalf"])
def test_an_unreadable_image_ends_in_one_line_and_nothing_is_prepared(
    tmp_path, part, content, capsys
):
    (part / "test/crack/001.png").write_bytes(content)
    with pytest.raises(SystemExit) as ended, one_line_errors():
        load(tmp_path)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "crack/001.png cannot be read as an image" in error
    assert not list((tmp_path / "cache").rglob("dataset_info.json"))


def test_names_that_are_not_utf_8_are_read(tmp_path, caplog):
    """Of the data folder, a category, a defect and files."""
    data = tmp_path / os.fsdecode(b"Ger\xe4te")
    part = mvtec_category(data / os.fsdecode(b"K\xf6rper"), defects={"crack": 1})
    good = part / "test" / "good" / "000.png"
    for name in (os.fsdecode(b"gr\xfcn.png"), "a\nb.png", "n" * 251 + ".png"):
        shutil.copy(good, good.with_name(name))
    for split in ("test", "ground_truth"):
        (part / split / "crack").rename(part / split / os.fsdecode(b"Ri\xdf"))
    (data / os.fsdecode(b"\xdcbrig")).mkdir()
    (data / os.fsdecode(b"\xdcbrig") / "x.bin").write_bytes(b"\0")
    assert datasets.categories("folder", data) == ("K_xf6rper",)
    (said,) = caplog.messages
    assert said.endswith(r"Ger\xe4te: 1 entry without train/good, not read: \xdcbrig")
    test = datasets.load(
        *("folder", "K_xf6rper", "test"),
        data_dir=data,
        cache_dir=tmp_path / "cache",
        progress=False,
    )
    assert set(test.keys) == {
        *("good/000", "good/001", r"good/gr\xfcn", r"good/a\nb"),
        *(f"good/{'n' * 251}", r"Ri\xdf/000"),
    }
    assert {example.defect for example in test} == {"good", r"Ri\xdf"}
    assert test[0].mask.any()


def test_two_folders_that_would_be_one_category_are_refused(tmp_path):
    for name in ("a_b", "a\\b"):
        mvtec_category(tmp_path / name)
    with pytest.raises(ValueError, match="would both be category a_b: rename one"):
        datasets.categories("folder", tmp_path)
