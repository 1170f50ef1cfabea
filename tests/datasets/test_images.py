"""Reading photographs from every kind of file."""

import io
import re
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from datasets.decoding import decode_file
from datasets.images import (
    bit_depth,
    decode,
    depth_doubt,
    image_shape,
    is_wide,
    read_image,
    rgb_png,
    stored_maximum,
)
from datasets.remarks import Remarks
from lfq_jax.inference.preprocessing import as_rgb
from tests.dataset_files import pixels, save
from tests.odd_image_files import png16, tiff


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


WIDE = np.random.default_rng(0).integers(0, 4096, (9, 7, 4)).astype(np.uint16)
WIDE[0, 0] = 4095


def opaque(channels: int) -> np.ndarray:
    """12-bit values; the opacity, if there is one, is full in 12 bits."""
    array = WIDE[..., :channels].copy()
    if channels in {2, 4}:
        array[..., -1] = 4095
    return array


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_png_of_wide_colours_keeps_all_bits(tmp_path, channels):
    path = png16(tmp_path / "a.png", opaque(channels))
    assert is_wide(path) and image_shape(path) == (9, 7)
    assert bit_depth(stored_maximum(path)) == 12
    read = read_image(path, depth=12)
    colours = WIDE[..., :1] if channels == 2 else WIDE[..., :3]
    np.testing.assert_array_equal(read, np.broadcast_to(colours >> 4, read.shape))
    assert rgb_png(path) is None


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(("channels", "opacity"), [(3, 0), (4, 0), (4, 1), (4, 2)])
def test_a_tiff_of_wide_colours_keeps_all_bits(tmp_path, big_endian, channels, opacity):
    path = tmp_path / "a.tif"
    tiff(path, opaque(channels), big_endian=big_endian, opacity=opacity)
    assert bit_depth(stored_maximum(path)) == 12
    np.testing.assert_array_equal(read_image(path, depth=12), WIDE[..., :3] >> 4)
    decoded = decode_file(path)
    np.testing.assert_array_equal(decoded.values, WIDE[..., :3])


def ppm(values: np.ndarray, maximum: int) -> bytes:
    height, width = values.shape[:2]
    header = b"P6\n%d %d\n%d\n" % (width, height, maximum)
    return header + values.astype(">u2").tobytes()


def test_a_ppm_of_wide_colours_keeps_all_bits(tmp_path):
    path = tmp_path / "a.ppm"
    path.write_bytes(ppm(WIDE[..., :3], 65535))
    assert is_wide(path) and bit_depth(stored_maximum(path)) == 12
    np.testing.assert_array_equal(decode_file(path).values, WIDE[..., :3])
    path.write_bytes(ppm(WIDE[..., :3], 4095))  # its range is stretched to 16 bits
    stretched = np.rint(WIDE[..., :3] * (65535 / 4095)).astype(np.uint16)
    np.testing.assert_array_equal(read_image(path, depth=16), stretched >> 8)


def test_wide_colours_of_which_bits_would_be_dropped_are_refused(tmp_path):
    plain = b"P3\n1 1\n4095\n1 2 3\n"
    sgi = struct.pack(">HBBHHHHII404x", 474, 0, 2, 3, 1, 1, 3, 0, 65535)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG2000")
    jp2 = bytearray(stream.getvalue())
    at = jp2.index(b"\xff\x4f\xff\x51") + 42  # bits of a channel, minus 1
    jp2[at : at + 9 : 3] = bytes([11] * 3)
    for name, data in (
        ("a.ppm", plain),
        ("a.sgi", sgi + bytes(88 + 6)),
        ("a.jp2", jp2),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} cannot .*: more than 8 bits"):
            read_image(path)
    path.write_bytes(stream.getvalue())
    assert read_image(path).shape == (8, 8, 3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_a_compressed_tiff_of_wide_colours_keeps_all_bits(tmp_path, compression):
    # Pillow writes no wide colours: as 8-bit values of twice the width they are the
    # same bytes, and the tags then say what the bytes are.
    path = tmp_path / "a.tif"
    narrow = np.ascontiguousarray(WIDE[..., :3]).view(np.uint8).reshape(9, 14, 3)
    Image.fromarray(narrow).save(path, compression=compression)
    data = bytearray(path.read_bytes())
    directory = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[directory : directory + 2], "little")):
        at = directory + 2 + 12 * entry
        tag = int.from_bytes(data[at : at + 2], "little")
        if tag == 256:
            data[at + 8 : at + 12] = (7).to_bytes(4, "little")
        elif tag == 258:
            bits = int.from_bytes(data[at + 8 : at + 12], "little")
            data[bits : bits + 6] = (16).to_bytes(2, "little") * 3
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path, depth=12), WIDE[..., :3] >> 4)


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [0, 3])
def test_a_rotated_tiff_is_upright(tmp_path, kind, channels):
    if kind == "f4" and channels:
        pytest.skip("Pillow reads no floats in colour")
    array = (WIDE[:8, :6, :3] >> 4).astype(kind)
    array = array / 255 if kind == "f4" else array
    array = array if channels else array[..., 0]
    path = tiff(tmp_path / "a.tif", array.astype(kind), orientation=6)
    assert image_shape(path) == (6, 8)
    np.testing.assert_array_equal(decode_file(path).values, np.rot90(array, -1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_of_which_0_is_white_is_inverted(tmp_path, kind):
    array = WIDE[..., 0].astype(kind)
    path = tiff(tmp_path / "a.tif", array, white_is_zero=True)
    np.testing.assert_array_equal(decode_file(path).values, np.iinfo(kind).max - array)


def test_a_tiff_of_wide_colours_in_planes_is_refused(tmp_path):
    path = tiff(tmp_path / "a.tif", opaque(3), in_planes=True)
    with pytest.raises(
        ValueError, match=r"a\.tif cannot be .*in separate planes: save"
    ):
        read_image(path)


def test_hidden_pixels_do_not_set_the_bit_depth(tmp_path):
    array = opaque(4)
    array[1, 1] = (65535, 65535, 65535, 0)
    path = png16(tmp_path / "a.png", array)
    assert bit_depth(stored_maximum(path)) == 12
    assert not read_image(path, depth=12)[1, 1].any()


def test_without_a_depth_a_file_sets_its_own(tmp_path):
    path = png16(tmp_path / "a.png", opaque(3))
    np.testing.assert_array_equal(read_image(path), WIDE[..., :3] >> 4)


@pytest.mark.parametrize(
    ("maximum", "depth", "is_known", "expected"),
    [
        (4095, 12, True, None),
        (900, 12, True, None),
        (60000, 16, False, None),
        (0, 16, False, None),
        (4080, 16, False, "of 12 bits.* 16 times too dark"),
        (250, 16, False, "of 8 bits.* 256 times too dark"),
        (5000, 12, True, "more than the 12 bits of the training images"),
    ],
)
def test_a_doubtful_bit_depth_is_explained(maximum, depth, is_known, expected):
    doubt = depth_doubt(maximum, depth=depth, is_known=is_known)
    assert doubt is None if expected is None else re.search(expected, doubt or "")


def test_a_doubtful_bit_depth_is_remarked_on(tmp_path):
    path = png16(tmp_path / "a.png", opaque(3))
    remarks = Remarks()
    read_image(path, depth=16, is_known=False, remarks=remarks)
    assert remarks.lines()[0].startswith(
        f"{path} has values up to 4095, as of a camera"
    )


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
