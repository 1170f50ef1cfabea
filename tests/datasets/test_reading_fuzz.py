"""Any image file is read, or refused in one line that names it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from datasets.images import image_shape, read_image, stored_maximum
from datasets.masks import read_mask
from datasets.remarks import Remarks
from tests.odd_image_files import FORMATS, MODES, encoded, in_mode, png16, tiff

TYPES = ("?", "u1", "u2", "i2", "i4", "u4", "f4")


@st.composite
def values(draw) -> np.ndarray:
    """A small array of few or many levels, in grey or up to four channels."""
    kind = np.dtype(draw(st.sampled_from(TYPES)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    channels = draw(st.sampled_from([(), (2,), (3,), (4,)]))
    levels = draw(arrays.arrays(kind, draw(st.integers(1, 5))))
    if draw(st.booleans()):
        return draw(arrays.arrays(kind, shape + channels))
    number = arrays.arrays(np.int64, shape + channels, elements=st.integers(0, 4))
    return levels[draw(number) % len(levels)]


@st.composite
def files(draw, folder: Path) -> Path:
    """A file of these values, in any format that can be written."""
    array = draw(values())
    path = folder / "a.image"
    writer = draw(st.sampled_from(["png16", "tiff", "pillow"]))
    if writer == "png16" and array.dtype.kind != "f":
        return png16(path, array.astype(np.uint16))
    if writer == "tiff" and array.dtype != bool:
        return tiff(
            path,
            array,
            big_endian=draw(st.booleans()),
            orientation=draw(st.integers(0, 9)),
            opacity=draw(st.integers(0, 2)),
            in_planes=array.ndim == 3 and draw(st.booleans()),
        )
    exif = Image.Exif()
    exif[0x0112] = draw(st.integers(0, 9))
    if array.dtype.itemsize > 1:
        array = np.ascontiguousarray(array).view(np.uint8)
    try:
        image = Image.fromarray(array.astype(np.uint8))
    except TypeError:  # an array of such a shape is no image
        image = Image.new("L", (3, 4), draw(st.integers(0, 255)))
    image = in_mode(image.convert("RGB"), draw(st.sampled_from(MODES)))
    path.write_bytes(encoded(image, draw(st.sampled_from(FORMATS)), exif=exif))
    return path


def check(path: Path) -> None:
    try:
        image = read_image(path)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        shape = None
    else:
        shape = image.shape[:2]
        assert image.dtype == np.uint8 and image.shape == (*shape, 3)
        assert image_shape(path) == shape
        assert stored_maximum(path) >= 0
    remarks = Remarks()
    try:
        mask = read_mask([path], path, shape or image_shape(path), remarks=remarks)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert mask.dtype == bool
        assert mask.mean() <= 0.5 or remarks.lines()


NO_LIMITS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@settings(max_examples=60, derandomize=True, **NO_LIMITS)
@given(data=st.data())
def test_any_image_file_is_read_or_refused_by_name(tmp_path, data):
    check(data.draw(files(tmp_path)))


@pytest.mark.slow
@settings(max_examples=2000, **NO_LIMITS)
@given(data=st.data())
def test_any_of_many_image_files_is_read_or_refused_by_name(tmp_path, data):
    check(data.draw(files(tmp_path)))
