"""Reading photographs and masks from every kind of file."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from datasets.images import (
    bit_depth,
    decode,
    read_image,
    read_mask,
    rgb_png,
    stored_maximum,
)
from lfq_jax.inference.preprocessing import as_rgb
from tests.dataset_files import blot, pixels, save


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "tiff", "PNG"])
def test_lossless_files_are_read_exactly(tmp_path, ending):
    image = pixels(1)
    path = save(tmp_path / f"a.{ending}", image)
    np.testing.assert_array_equal(read_image(path), image)


def test_a_jpeg_is_read_as_pillow_decodes_it(tmp_path):
    path = save(tmp_path / "a.JPG", pixels(1))
    expected = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_is_repeated_over_the_channels(tmp_path, mode):
    path = save(tmp_path / "a.png", pixels(1), mode)
    grey = np.asarray(Image.open(path).convert("L"))
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_twelve_bit_values_are_divided_by_sixteen(tmp_path, ending):
    grey = np.random.default_rng(0).integers(0, 4096, (9, 7)).astype(np.uint16)
    grey[0, 0] = 4095
    path = save(tmp_path / f"a.{ending}", grey)
    assert bit_depth(stored_maximum(path)) == 12
    np.testing.assert_array_equal(read_image(path, depth=12)[..., 0], grey >> 4)


def test_floats_are_read_as_a_detector_reads_them(tmp_path):
    grey = np.random.default_rng(0).random((9, 7)).astype(np.float32)
    path = save(tmp_path / "a.tif", grey)
    assert bit_depth(stored_maximum(path)) == 8
    np.testing.assert_array_equal(
        read_image(path, depth=16), as_rgb(grey, bit_depth=16)
    )
    for wrong in (1.5, -0.1, np.nan):
        grey[3, 3] = wrong
        save(path, grey)
        with pytest.raises(ValueError, match=r"a.tif holds floats, which must be in"):
            read_image(path)


def test_transparent_images_are_composited_on_black(tmp_path):
    image = np.zeros((4, 4, 4), np.uint8)
    image[..., 0] = 200
    image[:2, :, 3] = 255
    read = read_image(save(tmp_path / "a.png", image))
    assert (read[:2] == (200, 0, 0)).all() and not read[2:].any()


def test_a_photograph_is_rotated_upright(tmp_path):
    image = Image.fromarray(pixels(1)[:6])
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter turn
    image.save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(np.asarray(image), k=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright)


def palette_mask(path):
    mask = Image.fromarray(blot().astype(np.uint8) * 1)
    mask.putpalette([0, 0, 0, 64, 0, 0])  # colours of classes are often dark
    mask.save(path)


@pytest.mark.parametrize("kind", ["8 bit", "1 bit", "16 bit", "rgb", "palette"])
def test_a_mask_is_the_same_in_every_format(tmp_path, kind):
    path = tmp_path / "m.png"
    white = blot().astype(np.uint8) * 255
    if kind == "16 bit":
        save(path, blot().astype(np.uint16) * 65535)
    elif kind == "palette":
        palette_mask(path)
    else:
        save(path, white, {"1 bit": "1", "rgb": "RGB"}.get(kind))
    np.testing.assert_array_equal(read_mask(path), blot())


def test_threshold_zero_marks_every_number_above_zero(tmp_path):
    numbers = blot().astype(np.uint8)
    numbers[3] *= 3
    path = save(tmp_path / "m.png", numbers)
    np.testing.assert_array_equal(read_mask(path, threshold=0), blot())
    assert not read_mask(path).any()


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_file_that_is_not_a_complete_image_is_named(tmp_path, content):
    path = save(tmp_path / "a.png", pixels(1, side=64))
    data = path.read_bytes()[:4000] if content is None else content
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image: \w"):
        read_image(path)


def test_a_colour_png_is_stored_unchanged(tmp_path):
    path = save(tmp_path / "a.png", pixels(1))
    data = rgb_png(path)
    assert data is not None and data == path.read_bytes()
    np.testing.assert_array_equal(decode(data), read_image(path))


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


OTHERS = {
    "grey": ("L", {}),
    "palette": ("P", {}),
    "alpha": ("RGBA", {}),
    "transparent colour": ("RGB", {"transparency": (1, 2, 3)}),
    "rotated": ("RGB", {"exif": rotated()}),
    "16 bit": ("I;16", {}),
    "jpeg": ("RGB", {"format": "JPEG"}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_file_with_other_decoded_pixels_is_not_stored_unchanged(tmp_path, other):
    mode, options = OTHERS[other]
    image = Image.fromarray(pixels(1))
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png", **options)
    assert rgb_png(tmp_path / "a.png") is None


def test_threads_that_read_a_large_photograph_get_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "large.png")
    with ThreadPoolExecutor(8) as pool:
        read = pool.map(read_image, [tmp_path / "large.png"] * 200)
        assert all(image.shape == (40, 40, 3) for image in read)
