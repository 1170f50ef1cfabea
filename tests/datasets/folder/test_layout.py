"""Layouts of the user's folders: what is read, refused and named."""

import logging

import numpy as np
import pytest

import datasets
from datasets.folder.layout import read_layout
from datasets.photographs import read_record
from datasets.remarks import Remarks
from tests.dataset_files import blot, mvtec_category, pixels, save

WHITE = np.full((12, 12), 255, np.uint8)


@pytest.fixture
def part(tmp_path):
    return mvtec_category(tmp_path / "data/part", defects={"crack": 2})


def keys(part, split="test") -> list[str]:
    return [photograph.key for photograph in getattr(read_layout("part", part), split)]


def refused(part, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_layout("part", part)


def test_the_masks_in_a_folder_of_mvtec_loco_are_united(part):
    masks = part / "ground_truth/crack"
    (masks / "000_mask.png").unlink()
    (masks / "001_mask.png").unlink()
    other = np.zeros((12, 12), np.uint8)
    other[8:10, 1] = 254
    save(masks / "000/000.png", blot().astype(np.uint8) * 255)
    save(masks / "000/001.png", other)
    save(masks / "001/000.png", other)
    category = read_layout("part", part)
    both, one = (
        read_record(category, photograph, kind="object", remarks=Remarks()).mask
        for photograph in category.test
        if photograph.defect == "crack"
    )
    np.testing.assert_array_equal(both, blot() | (other > 0))
    np.testing.assert_array_equal(one, other > 0)
    before = category.fingerprint()
    save(masks / "001/001.png", WHITE)
    assert read_layout("part", part).fingerprint() != before


@pytest.mark.parametrize("name", ["000.png", "000_mask.tif", "000/0.png"])
def test_two_masks_of_one_photograph_are_refused(part, name):
    save(part / "ground_truth/crack" / name, WHITE)
    refused(part, r"are both masks of .*test/crack/000\.png")


def test_sub_folders_belong_to_the_folder_above(part):
    save(part / "train/good/day2/000.png", pixels(7))
    save(part / "test/crack/day2/000.png", pixels(8))
    save(part / "ground_truth/crack/day2/000_mask.png", WHITE)
    assert len(keys(part, "train")) == 4 and "good/day2/000" in keys(part, "train")
    crack = {p.key: p for p in read_layout("part", part).test}["crack/day2/000"]
    assert crack.masks == (part / "ground_truth/crack/day2/000_mask.png",)


def test_masks_beside_photographs_are_refused(part):
    save(part / "test/crack/000_mask.png", WHITE)
    refused(part, r"1 entry of .*test/crack cannot be used: 000_mask\.png \(looks like")


@pytest.mark.parametrize(
    "folder", ["train/good", "test/good", "test/crack", "ground_truth/crack"]
)
def test_what_may_hide_an_image_is_refused_everywhere(part, folder):
    (part / folder / "000.heic").write_bytes(b"")
    refused(
        part, rf"1 entry of .*{folder} cannot be used: 000\.heic \(\.heic is not read"
    )
    (part / folder / "000.heic").unlink()
    (part / folder / "777.png").symlink_to("/nowhere.png")
    refused(part, r"777\.png \(a broken link\)")


def test_what_is_no_part_of_the_layout_is_named(part):
    for name in (
        *("000.png", "validation/good/0.png", "train/bad/0.png", "train/0.png"),
        *("test/0.png", "ground_truth/0.png", "ground_truth/good/0.png"),
    ):
        save(part / name, WHITE)
    for folder in ("", "test/", "test/crack/", "ground_truth/crack/"):
        (part / f"{folder}readme.txt").write_text("hello")
    (part / "test/again").symlink_to(part)
    before = len(keys(part))
    category = read_layout("part", part)
    found = {item.path.relative_to(part).as_posix() for item in category.left_out}
    assert found == {
        *("000.png", "validation", "train/bad", "train/0.png", "test/0.png"),
        *("ground_truth/0.png", "ground_truth/good", "test/again"),
        *("test/crack/readme.txt", "ground_truth/crack/readme.txt"),
    }
    assert before == 4
    link, no_part, text = sorted(category.notes(), key=lambda x: x.split(": ")[1])
    assert (
        link
        == f"{part}/test/again is not read: a link to a folder that contains this one"
    )
    assert no_part.endswith(
        "not part of the layout (6 others likewise: validation, train/0.png, ...)"
    )
    assert text.startswith(f"{part}/test/crack/readme.txt is not read: text (1 other")


def test_a_linked_folder_of_defects_is_read(part, tmp_path):
    save(tmp_path / "camera/0.png", pixels(5))
    (part / "test/dent").symlink_to(tmp_path / "camera")
    assert "dent/0" in keys(part)


def test_what_is_not_read_is_logged_once(part, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (part / "train/good/notes.txt").write_text("hello")
    save(tmp_path / "data/other/Train/good/0.png", pixels(1))
    (tmp_path / "data/licence.txt").write_text("hello")
    options = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}
    assert datasets.categories("folder", tmp_path / "data") == ("part",)
    (line,) = caplog.messages
    assert line.endswith("data: 1 entry without train/good, not read: other")
    caplog.clear()
    for _ in range(2):  # the second time from the prepared copy
        for split in ("train", "test"):
            datasets.load("folder", "part", split, progress=False, **options)
    (line,) = caplog.messages
    assert line.endswith("notes.txt is not read: text")
