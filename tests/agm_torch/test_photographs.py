"""Photographs are read as the data sets read them."""

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import folder_sha256
from agm_torch.photographs import photograph_paths, read_photographs
from tests.agm_images import part


def test_photographs_are_read_as_the_data_sets_read_them(tmp_path):
    grey = part()[:, :, 0].astype(np.uint16)
    files = tmp_path / "twelve_bits"
    files.mkdir()
    Image.fromarray(grey << 4).save(files / "bright.png")
    Image.fromarray((grey << 4) // 20).save(files / "dark.png")
    (files / "._dark.png").write_bytes(b"what a Mac keeps of a file")
    bright, dark = read_photographs(photograph_paths([files]))
    assert np.array_equal(bright[..., 0], grey)
    assert np.array_equal(dark[..., 0], grey // 20)

    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(part(px=80)[:40]).save(tmp_path / "phone.png", exif=exif)
    Image.fromarray(np.full((40, 40, 4), 99, np.uint8)).save(tmp_path / "clear.png")
    phone, clear = read_photographs([tmp_path / "phone.png", tmp_path / "clear.png"])
    assert np.array_equal(phone, np.rot90(part(px=80)[:40], -1))
    assert (clear == 38).all()  # laid on black


def test_a_photograph_with_too_many_pixels_is_refused(tmp_path, monkeypatch):
    Image.fromarray(part()).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"large\.png is too large"):
        read_photographs([tmp_path / "large.png"])


def test_every_file_of_a_folder_is_taken_or_named(tmp_path, caplog):
    (tmp_path / "day").mkdir()
    Image.fromarray(part()).save(tmp_path / "day/a.webp")
    (tmp_path / "readme.txt").write_text("hello")
    assert photograph_paths([tmp_path]) == [tmp_path / "day/a.webp"]
    assert caplog.messages == [f"{tmp_path}/readme.txt is not read: text"]
    (tmp_path / "b.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 entry .* cannot be used: b\.heic"):
        photograph_paths([tmp_path])


def test_the_hash_of_textures_covers_what_is_drawn(tmp_path):
    linked = tmp_path / "linked"
    for folder in (tmp_path / "textures", linked):
        folder.mkdir()
        Image.fromarray(part()).save(folder / "a.png")
    (tmp_path / "textures/more").symlink_to(linked)
    before = folder_sha256(tmp_path / "textures")
    (linked / "notes.txt").write_text("not drawn")
    assert folder_sha256(tmp_path / "textures") == before
    Image.fromarray(part()).save(linked / "b.png")
    assert folder_sha256(tmp_path / "textures") != before
