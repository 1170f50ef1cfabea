"""The kinds of image that a detector takes: arrays, Pillow images and files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from datasets.images import depth_doubt, read_image
from datasets.remarks import Remarks
from lfq_jax.inference.preprocessing import as_rgb

ACCEPTED = "an array, a Pillow image, a path, or a list of them"
_COLOUR = (3, 4)  # channels of RGB and RGBA
_AS_STORED = frozenset({"1", "L", "LA", "RGB", "RGBA", "I", "F"})


def is_one_image(images: object) -> bool:
    """Whether `images` is one image and not a list of them.

    Raises:
      TypeError: if it is neither.
    """
    if isinstance(images, str | Path | Image.Image) or _is_array(images):
        return True
    is_text = isinstance(images, bytes | bytearray | memoryview)
    if isinstance(images, Sequence | Iterator) and not is_text:
        return False
    raise TypeError(f"images must be {ACCEPTED}, got {type(images).__name__}")


def read_rgb(
    image: Any,
    *,
    bit_depth: int,
    is_known: bool,
    remarks: Remarks,
    name: str = "image",
) -> UInt8[np.ndarray, "h w 3"]:
    """Any accepted kind of image as 8-bit RGB; `as_rgb` has the rules for values.

    Args:
      image: an array [h w] or [h w c] of numpy, jax, or torch on the CPU; a Pillow
        image; or the path of an image file.
      bit_depth: bits per value of all integer types but uint8.
      is_known: whether the camera is known to have that depth.
      remarks: receives a remark if the values hardly fit the depth.
      name: name of the image in error messages.

    Raises:
      TypeError: for anything else.
      ValueError: if the file cannot be read, `as_rgb` refuses the values, or the shape
        can be read in two ways.
    """
    if isinstance(image, str | Path):
        return read_image(
            Path(image), depth=bit_depth, is_known=is_known, remarks=remarks
        )
    if isinstance(image, Image.Image):
        pixels = _pillow_pixels(image)
    elif _is_array(image):
        pixels = _array_pixels(image, name)
        _refuse_ambiguous(pixels.shape, name)
    else:
        raise TypeError(f"{name} must be {ACCEPTED}, got {type(image).__name__}")
    rgb = as_rgb(pixels, bit_depth=bit_depth, is_known=is_known)
    if pixels.dtype.kind in "iu" and pixels.dtype != np.uint8:
        largest = int(pixels.max())
        doubt = depth_doubt(largest, depth=bit_depth, is_known=is_known)
        if doubt:
            remarks.add("bit depth", None, doubt)
    return rgb


def _is_array(image: object) -> bool:
    """Whether numpy can read it as an array: jax's and torch's arrays count, too."""
    return hasattr(image, "__array__") and not isinstance(image, np.generic)


def _array_pixels(image: Any, name: str) -> Shaped[np.ndarray, "..."]:
    try:
        return np.asarray(image)
    except (
        TypeError,
        RuntimeError,
        ValueError,
    ) as error:  # torch: on a GPU, in a graph
        reason = " ".join(str(error).split())
        raise TypeError(
            f"{name} is a {type(image).__name__} that numpy cannot read: {reason}"
        ) from error


def _refuse_ambiguous(shape: tuple[int, ...], name: str) -> None:
    """Refuse shapes that two conventions read as different images."""
    colour_first = len(shape) == 3 and shape[0] in _COLOUR and shape[1] > 4
    if colour_first and shape[2] in _COLOUR:
        raise ValueError(
            f"{name} of shape {shape} is ambiguous: [h w c] with {shape[0]} rows, or "
            f"[c h w] with {shape[2]} columns; more than 4 rows and columns are needed"
        )
    if colour_first and shape[2] > 4:
        raise ValueError(
            f"{name} must have its channels last, [h w c], got shape {shape}: move "
            "the first axis to the end"
        )
    if len(shape) == 2 and shape[0] > 4 and shape[1] in _COLOUR:
        raise ValueError(
            f"{name} of shape {shape} is ambiguous: a grey image {shape[1]} px wide, "
            "or one row of colour pixels; give a grey image as [h w 1]"
        )


def _pillow_pixels(image: Image.Image) -> Shaped[np.ndarray, "h w *c"]:
    """The pixels, upright, as `datasets.images.read_image` sees those of a file."""
    upright = ImageOps.exif_transpose(image)
    if "transparency" in upright.info or upright.mode in {"PA", "La", "RGBa"}:
        return np.asarray(upright.convert("RGBA"))
    if upright.mode in _AS_STORED or upright.mode.startswith("I;16"):
        return np.asarray(upright)
    return np.asarray(upright.convert("RGB"))
