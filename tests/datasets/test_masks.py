"""One rule for masks, however they were saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from datasets.masks import read_mask, read_mask_levels
from datasets.remarks import Remarks
from tests.odd_image_files import png16, tiff

SIDE = 48
PHOTOGRAPH = Path("photograph.png")


def marked() -> np.ndarray:
    """The true mask: two separate regions, the first of which is `first()`."""
    mask = first()
    mask[30:40, 4:16] = True
    return mask


def first() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[5:15, 8:30] = True
    return mask


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """The mask in a file, and the remarks without the file's name."""
    remarks = Remarks()
    mask = read_mask([path], PHOTOGRAPH, (SIDE, SIDE), remarks=remarks)
    return mask, [line.removeprefix(f"{path} ") for line in remarks.lines()]


def painted(good, bad, other=None, kind: Any = np.uint8) -> np.ndarray:
    """The true mask in two values, or in three: another for the second region."""
    array = np.where(marked()[..., None], np.array(bad, kind), np.array(good, kind))
    array[marked() & ~first()] = bad if other is None else other
    return array if np.ndim(good) else array[..., 0]


def with_border(array: np.ndarray) -> np.ndarray:
    """RGBA whose last columns are white, but transparent."""
    array[:, -6:] = (*WHITE, 0)
    return array


def save(path: Path, array: np.ndarray) -> None:
    """Write an array, also of types that Pillow does not write."""
    if path.suffix == ".tif":
        tiff(path, array)
    elif array.dtype == np.uint16:
        png16(path, array)
    else:
        Image.fromarray(array).save(path)


RED, GREEN, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 0), (255, 255, 255)
PLAIN = {
    "0 and 255": ("png", painted(0, 255)),
    "0 and 1": ("png", painted(0, 1)),
    "boolean": ("png", marked()),
    "colour white": ("png", painted(BLACK, WHITE)),
    "opaque white": ("png", painted((*BLACK, 255), (*WHITE, 255))),
    "all transparent": ("png", painted((*BLACK, 0), (*WHITE, 0))),
    "16 bits": ("png", painted(0, 65535, kind=np.uint16)),
    "0 and 1 in 16 bits": ("png", painted(0, 1, kind=np.uint16)),
    "16-bit colour": ("png", painted(BLACK, (65535,) * 3, kind=np.uint16)),
    "16-bit tiff": ("tif", painted(0, 65535, kind=np.uint16)),
    "32-bit tiff": ("tif", painted(0, 255, kind=np.int32)),
    "floats": ("tif", painted(0, 1, kind=np.float32)),
    "floats to 255": ("tif", painted(0, 255, kind=np.float32)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_masks_are_read_without_a_remark(tmp_path, name):
    suffix, array = PLAIN[name]
    path = tmp_path / f"m.{suffix}"
    save(path, array)
    mask, remarks = read(path)
    np.testing.assert_array_equal(mask, marked())
    assert remarks == []


DECIDED = {
    "number 2": ("png", painted(0, 2), "has the values 0 and 2: 2 is the defect"),
    "numbers": ("png", painted(0, 1, 2), "has numbers from 0 to 2: all above 0"),
    "16-bit numbers": ("png", painted(0, 1, 2, np.uint16), "has numbers from 0 to 2"),
    "12 bits": ("png", painted(0, 4095, kind=np.uint16), "has the values 0 and 4095"),
    "two greys": ("png", painted(100, 120), "has the values 100 and 120: 120 is"),
    "unsigned 32": (
        "tif",
        painted(0, 2**32 - 1, kind=np.uint32),
        "has the values 0 and 4.29497e+09",
    ),
    "floats": ("tif", painted(0, 0.3, kind=np.float32), "has the values 0 and 0.3"),
    "signed": ("tif", painted(-1, 1, kind=np.float32), "has the values -1 and 1"),
    "grey classes": ("png", painted(0, 80, 160), "has levels from 0 to 160: all above"),
    "void": ("png", painted(0, 1, 255), "has levels from 0 to 255: all above 0"),
    "colours": ("png", painted(BLACK, GREEN, RED), "the background (0, 0, 0)"),
    "dark colours": ("png", painted(BLACK, (1, 0, 0), (2, 0, 0)), "is in colour"),
    "on white": ("png", painted(WHITE, RED), "the background (255, 255, 255)"),
    "16-bit colours": (
        "png",
        painted(BLACK, (256, 0, 0), (0, 3, 0), np.uint16),
        "is in colour: every colour but the background (0, 0, 0) is a defect",
    ),
    "opacity": ("png", painted((*WHITE, 0), (*WHITE, 255)), "its opacity is the mask"),
    "faint opacity": (
        "png",
        painted((*RED, 0), (*RED, 128)),
        "its opacity is the mask",
    ),
    "hidden colour": ("png", painted((*WHITE, 0), (*RED, 255)), "its opacity is the"),
    "grey opacity": (
        "png",
        painted((65535, 0), (65535, 65535), kind=np.uint16),
        "varies in opacity and has no black: its opacity is the mask",
    ),
    "black and opacity": ("png", painted((*BLACK, 0), (*BLACK, 255)), "its opacity is"),
    "colours on nothing": (
        "png",
        painted((*WHITE, 0), (*RED, 255), (*GREEN, 255)),
        "its opacity is the mask",
    ),
    "colours with a transparent border": (
        "png",
        with_border(painted((*BLACK, 255), (*RED, 255), (*GREEN, 255))),
        "is transparent in part: what is transparent counts as good",
    ),
}


@pytest.mark.parametrize("name", DECIDED)
def test_a_decision_is_remarked_on(tmp_path, name):
    suffix, array, remark = DECIDED[name]
    path = tmp_path / f"m.{suffix}"
    save(path, array)
    mask, remarks = read(path)
    np.testing.assert_array_equal(mask, marked())
    assert any(remark in line for line in remarks), remarks


@pytest.mark.parametrize(
    ("colours", "remark"),
    [
        ((*BLACK, 64, 0, 0), "is in colour"),
        ((*BLACK, *WHITE), None),
        ((*WHITE, *WHITE), "the palette's numbers are the mask"),
    ],
)
def test_a_palettes_colours_count_unless_they_are_the_same(tmp_path, colours, remark):
    image = Image.fromarray(marked().astype(np.uint8))
    image.putpalette(colours)
    image.save(tmp_path / "m.png")
    mask, remarks = read(tmp_path / "m.png")
    np.testing.assert_array_equal(mask, marked())
    assert remark in remarks[0] if remark else not remarks


def test_a_transparent_palette_entry_is_the_background(tmp_path):
    image = Image.fromarray(marked().astype(np.uint8))
    image.putpalette((*WHITE, *WHITE))
    image.save(tmp_path / "m.png", transparency=0)
    mask, remarks = read(tmp_path / "m.png")
    np.testing.assert_array_equal(mask, marked())
    assert "its opacity is the mask" in remarks[0]


NOISY = {
    "black and white": painted(0, 255),
    "colours": painted(BLACK, GREEN, WHITE),
    "grey classes": painted(0, 90, 200),
    "on white": painted(WHITE, RED),
}


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("as_png", [False, True])
def test_the_noise_of_jpeg_is_removed_with_a_remark(tmp_path, name, as_png):
    path = tmp_path / "m.jpg"
    large = np.kron(NOISY[name], np.ones((3, 3) + (1,) * (NOISY[name].ndim - 2)))
    Image.fromarray(large.astype(np.uint8)).save(path, quality=85)
    if as_png:
        Image.open(path).save(tmp_path / "m.png")
        path = tmp_path / "m.png"
    remarks = Remarks()
    mask = read_mask([path], PHOTOGRAPH, large.shape, remarks=remarks)
    truth = np.kron(marked(), np.ones((3, 3), bool))
    assert (mask != truth).mean() < 0.01
    assert "has soft edges or noise" in " ".join(remarks.lines())


def test_soft_edges_are_cut_in_the_middle_and_kept_for_other_rules(tmp_path):
    soft = Image.fromarray(painted(0, 255)).filter(ImageFilter.BoxBlur(1))
    soft.save(tmp_path / "m.png")
    mask, remarks = read(tmp_path / "m.png")
    np.testing.assert_array_equal(mask, np.asarray(soft) > 127)
    assert "what is above 127.5 is the defect" in remarks[0]
    levels = read_mask_levels(
        [tmp_path / "m.png"], PHOTOGRAPH, (SIDE, SIDE), remarks=Remarks()
    )
    np.testing.assert_array_equal(levels, np.asarray(soft))


@pytest.mark.parametrize(
    ("array", "remark"),
    [
        (painted(255, 0), "marks 85 % of its image as defect"),
        (np.full((SIDE, SIDE), 255, np.uint8), "marks the whole image as defect"),
        (np.full((SIDE, SIDE, 4), 255, np.uint8), "marks the whole image as defect"),
    ],
)
def test_a_mask_of_most_of_its_image_is_remarked_on(tmp_path, array, remark):
    save(tmp_path / "m.png", array)
    mask, remarks = read(tmp_path / "m.png")
    assert mask.mean() > 0.8
    assert remarks == [f"{remark}: check that the mask is not inverted"]


def test_an_empty_mask_marks_nothing(tmp_path):
    save(tmp_path / "m.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    mask, remarks = read(tmp_path / "m.png")
    assert not mask.any() and not remarks


REFUSED = {
    "one number": ("png", painted(3, 3), "has the value 3 in every pixel"),
    "one colour": ("png", painted(RED, RED), "has one colour in every pixel"),
    "no background": (
        "png",
        np.indices((SIDE, SIDE, 3)).sum(0).astype(np.uint8)
        * np.array([1, 2, 3], np.uint8)
        + 9,
        "is in colour and has no background",
    ),
    "photograph": (
        "png",
        np.random.default_rng(0).normal(120, 30, (SIDE, SIDE)).astype(np.uint8),
        "looks like a photograph, not a mask: its values from",
    ),
    "smooth photograph": (
        "png",
        np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) + 40,
        "looks like a photograph, not a mask: its values from 40 to 134",
    ),
    "NaN": ("tif", painted(0, np.nan, kind=np.float32), "must hold finite numbers"),
    "faint JPEG": ("jpg", painted(0, 9, 5), "which the noise of JPEG hides"),
    "size": ("png", np.zeros((SIDE, 5), np.uint8), "photograph.png, 48x48, got 5x48"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_is_refused_by_name(tmp_path, name):
    suffix, array, reason = REFUSED[name]
    path = tmp_path / f"m.{suffix}"
    save(path, array)
    with pytest.raises(ValueError) as refused:
        read(path)
    message = str(refused.value)
    assert message.startswith(str(path)) and reason in message and "\n" not in message


def test_a_mask_is_rotated_like_a_photograph_or_its_size_is_explained(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    upright = marked()[:40]
    stored = Image.fromarray(np.rot90(upright))
    stored.save(tmp_path / "m.png", exif=exif)
    read_ = read_mask([tmp_path / "m.png"], PHOTOGRAPH, (40, 48), remarks=Remarks())
    np.testing.assert_array_equal(read_, upright)
    stored.save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"48x40, got 40x48; if the photograph's EXIF"):
        read_mask([tmp_path / "m.png"], PHOTOGRAPH, (40, 48), remarks=Remarks())


def test_known_numbers_need_no_remark(tmp_path):
    save(tmp_path / "m.png", painted(0, 1, 2))
    remarks = Remarks()
    mask = read_mask(
        [tmp_path / "m.png"],
        PHOTOGRAPH,
        (SIDE, SIDE),
        remarks=remarks,
        is_numbered=True,
    )
    np.testing.assert_array_equal(mask, marked())
    assert not remarks.lines()


def test_the_masks_of_one_photograph_are_united(tmp_path):
    save(tmp_path / "0.png", first().astype(np.uint8) * 255)
    save(tmp_path / "1.png", (marked() & ~first()).astype(np.uint8) * 3)
    paths, remarks = [tmp_path / "0.png", tmp_path / "1.png"], Remarks()
    mask = read_mask(paths, PHOTOGRAPH, (SIDE, SIDE), remarks=remarks)
    np.testing.assert_array_equal(mask, marked())
    assert len(remarks.lines()) == 1
    assert not read_mask([], PHOTOGRAPH, (SIDE, SIDE), remarks=remarks).any()
    save(paths[1], np.zeros((SIDE, 5), np.uint8))
    with pytest.raises(ValueError, match=r"1\.png must have the size of photograph"):
        read_mask(paths, PHOTOGRAPH, (SIDE, SIDE), remarks=remarks)
