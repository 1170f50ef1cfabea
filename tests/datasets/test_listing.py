"""What lies in a folder is taken, or named with the reason."""

import importlib.machinery
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.images import read_image
from datasets.listing import list_photographs, photographs_of
from tests.dataset_files import pixels, save


def names(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix() for path in list_photographs(folder).files
    ]


def reasons(folder: Path) -> dict[str, str]:
    found = list_photographs(folder)
    items = [*found.unreadable, *found.skipped]
    return {item.path.relative_to(folder).as_posix(): item.reason for item in items}


@pytest.mark.parametrize(
    "name",
    ["a.webp", "a.WEBP", "a.gif", "a.ppm", "a.tif", "a.JPG", "a.jp2", "a.tga", "a.qoi"],
)
def test_every_ending_that_pillow_decodes_is_taken(tmp_path, name):
    path = save(tmp_path / name, pixels(1))
    assert list_photographs(tmp_path).files == [path]
    assert read_image(path).shape == (12, 12, 3)


def test_a_jfif_file_is_a_jpeg(tmp_path):
    Image.fromarray(pixels(1)).save(tmp_path / "a.jfif", format="JPEG")
    assert names(tmp_path) == ["a.jfif"]


def test_what_may_hide_an_image_is_refused_and_text_is_noted(tmp_path):
    save(tmp_path / "good.png", pixels(1))
    (tmp_path / "a.heic").write_bytes(b"any content")
    (tmp_path / "b.svg").write_text("<svg/>")
    (tmp_path / "c.eps").write_text("%!PS")
    (tmp_path / "d.CR3").write_bytes(b"\0\0\0\x18ftypcrx ")
    (tmp_path / "photographs.zip").write_bytes(b"PK\3\4\0\0")
    (tmp_path / "labels.csv").write_text("a,b\n")
    (tmp_path / "empty").touch()
    found = list_photographs(tmp_path)
    assert names(tmp_path) == ["good.png"]
    refused = [item.path.name for item in found.unreadable]
    assert refused == ["a.heic", "b.svg", "c.eps", "d.CR3", "photographs.zip"]
    with pytest.raises(
        ValueError, match=r"^5 entries .* cannot be used: a\.heic \("
    ) as e:
        found.require_readable()
    assert "c.eps (.eps is not read by Pillow here), ..." in str(e.value)
    (line,) = found.notes()
    assert line == f"{tmp_path}/empty is not read: text (1 other likewise: labels.csv)"


def test_the_endings_of_a_plug_in_are_taken(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if not installed
    save(tmp_path / "a.png", pixels(1)).rename(tmp_path / "a.HEIC")
    assert names(tmp_path) == []
    plug_in: types.ModuleType = types.ModuleType("pillow_heif")
    plug_in.__spec__ = importlib.machinery.ModuleSpec("pillow_heif", None)
    vars(plug_in)["register_heif_opener"] = lambda: monkeypatch.setitem(
        Image.EXTENSION, ".heic", "PNG"
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", plug_in)
    assert names(tmp_path) == ["a.HEIC"]


def test_hidden_files_and_those_of_file_managers_are_ignored(tmp_path):
    for name in ("._a.png", ".b/a.png", "@eaDir/a.png", "__MACOSX/a.png"):
        save(tmp_path / name, pixels(1))
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / name).write_bytes(b"\0")
    found = list_photographs(tmp_path)
    assert not (found.files or found.unreadable or found.skipped)


def test_links_are_followed_and_no_folder_is_listed_twice(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    save(root / "day/a.png", pixels(1))
    save(other / "deep/b.png", pixels(2))
    (root / "1_other").symlink_to(other)
    (root / "2_same").symlink_to(other)
    (root / "3_deep").symlink_to(other / "deep")
    (root / "4_day").symlink_to(root / "day")
    (root / "day/loop").symlink_to(root)
    (other / "back").symlink_to(root / "day")
    (root / "file.png").symlink_to(other / "deep/b.png")
    assert names(root) == ["1_other/deep/b.png", "day/a.png", "file.png"]
    assert reasons(root) == dict.fromkeys(
        ["1_other/back", "2_same", "3_deep", "4_day", "day/loop"],
        "a link to a folder that is already listed",
    )
    list_photographs(root).require_readable()


def test_links_that_lead_nowhere_or_above_are_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").symlink_to(root / "missing.png")
    (root / "b").symlink_to("b")
    (root / "c").symlink_to(tmp_path)
    os.mkfifo(root / "d.png")  # reading it would wait for ever
    assert reasons(root) == {
        "a.png": "a broken link",
        "b": "a broken link",
        "c": "a link to a folder that contains this one",
        "d.png": "not a regular file",
    }
    with pytest.raises(ValueError, match="4 entries"):
        list_photographs(root).require_readable()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    save(tmp_path / "a.png", pixels(1))
    (tmp_path / "locked").mkdir()
    listdir = os.listdir

    def refuse(folder: Path) -> list[str]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    assert names(tmp_path) == ["a.png"]
    assert reasons(tmp_path) == {"locked": "cannot be listed: Permission denied"}


def test_a_mask_is_no_photograph(tmp_path):
    for name in ("a.png", "b.jpg", "front_mask.png"):
        save(tmp_path / name, pixels(1))
    for name in ("a_mask.png", "b_MASK.PNG", "masks/a.png", "ground_truth/a.png"):
        save(tmp_path / name, pixels(2))
    assert names(tmp_path) == ["a.png", "b.jpg", "front_mask.png"]
    beside = "looks like the mask of the photograph beside it, use another folder"
    assert reasons(tmp_path) == {
        "a_mask.png": beside,
        "b_MASK.PNG": beside,
        "ground_truth": "a folder of masks, by its name",
        "masks": "a folder of masks, by its name",
    }


def test_files_of_several_pages_are_named(tmp_path):
    first, second = (Image.fromarray(pixels(i)) for i in range(2))
    smaller = Image.fromarray(pixels(2, side=6))
    smaller.encoderinfo = {"tiffinfo": {254: 1}}  # a reduced copy, as in pyramids
    for name in ("a.tif", "b.gif", "c.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
    first.save(tmp_path / "pyramid.tif", save_all=True, append_images=[smaller])
    first.save(tmp_path / "single.tif")
    (line,) = list_photographs(tmp_path).notes()
    assert line == (
        f"{tmp_path}/a.tif has 2 pages, of which only the first is read "
        "(2 others likewise: b.gif, c.webp)"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels(0))


def test_sources_are_files_or_folders(tmp_path):
    files = [save(tmp_path / name, pixels(1)) for name in ("b.png", "x/a.png")]
    (tmp_path / "x/notes.txt").write_text("hello")
    paths, lines = photographs_of([files[0], tmp_path / "x"], "images")
    assert paths == files and "notes.txt is not read: text" in lines[0]
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("pipe.png", "is neither a file nor a folder"),
        ("missing.png", "does not exist"),
        ("empty", "holds no image"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            photographs_of([tmp_path / name], "images")


def test_a_name_with_a_line_break_stays_on_its_line(tmp_path):
    (tmp_path / "a\nb.txt").write_text("")
    assert "\n" not in list_photographs(tmp_path).notes()[0]
