"""Reading a photograph from any supported kind of image file."""

import hashlib
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8
from PIL import ExifTags, Image

from datasets.decoding import decode_file, has_wide_integers, opened, upright_shape
from datasets.remarks import Remarks

BIT_DEPTHS = (8, 10, 12, 14, 16)
UNKNOWN_DEPTH = 16
"""Bit depth assumed for integers of more than 8 bits whose camera is unknown."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_FORMAT = slice(24, 26)  # of the file: bit depth and colour type
_EIGHT_BIT_RGB = bytes([8, 2])
_SUBFILE_TYPE, _REDUCED = 254, 1  # TIFF tag of a page, and its bit for smaller copies


def is_wide(path: Path) -> bool:
    """Whether the file holds integers of more than 8 bits. Reads only the header."""
    with opened(path) as image:
        return has_wide_integers(image)


def stored_maximum(path: Path) -> int:
    """The largest value in the file, from which `bit_depth` infers the bit depth.

    Pixels that are wholly transparent do not count. It is 255 for files of 8 bits and
    of floats, of which only the header is read.
    """
    return int(decode_file(path).maximum) if is_wide(path) else 255


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width of the array that `read_image` returns for a file.

    Raises:
      ValueError: the file is not an image.
    """
    with opened(path) as image:
        return upright_shape(image)


def pixel_count(path: Path) -> int:
    """Number of pixels according to the file's header; 0 if it cannot be read."""
    try:
        with opened(path) as image:
            return image.width * image.height
    except ValueError:
        return 0


def page_count(path: Path) -> int:
    """Number of pages or frames in a file; 1 if it cannot be read.

    Smaller copies of a page, which some TIFF files hold, are not counted.
    """
    try:
        with opened(path) as image:
            frames = getattr(image, "n_frames", 1)
            if image.format != "TIFF" or frames == 1:
                return frames
            return sum(_is_own_page(image, frame) for frame in range(frames))
    except ValueError:
        return 1


def _is_own_page(image: Image.Image, frame: int) -> bool:
    image.seek(frame)
    tags = getattr(image, "tag_v2", {})
    return not int(tags.get(_SUBFILE_TYPE, 0)) & _REDUCED


def bit_depth(maximum: int) -> int:
    """The smallest of `BIT_DEPTHS` that can hold `maximum`, at most 16."""
    return next((depth for depth in BIT_DEPTHS if maximum < 1 << depth), 16)


def read_image(
    path: Path,
    *,
    depth: int | None = None,
    is_known: bool = True,
    remarks: Remarks | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Read a photograph as 8-bit RGB.

    Grey images are repeated over the channels. Transparent images are composited on
    black. Integers of more than 8 bits, grey or colour, are divided by 2^(depth - 8);
    using one depth for a whole category keeps brightness comparable. Floats must be in
    [0, 1].

    Args:
      path: the file.
      depth: bit depth of the camera, for files of more than 8 bits; None infers it
        from this file alone.
      is_known: whether training images of more than 8 bits have shown that depth.
      remarks: receives a remark if the values hardly fit the depth.

    Raises:
      ValueError: the file is not a complete image, or holds floats outside [0, 1].
    """
    stored = decode_file(path)
    if depth is None:
        depth = bit_depth(int(stored.maximum)) if stored.is_wide else 8
    if stored.is_wide and remarks is not None:
        doubt = depth_doubt(int(stored.maximum), depth=depth, is_known=is_known)
        if doubt:
            remarks.add("bit depth", path, doubt)
    values = _eight_bits(stored.values, depth, path)
    rgb = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=-1)
    if stored.alpha is None or stored.is_premultiplied:
        return rgb
    alpha = _eight_bits(stored.alpha, bit_depth(int(stored.alpha.max())), path)
    image = Image.fromarray(np.dstack([rgb, alpha]))
    ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(ground, image).convert("RGB"))


def depth_doubt(maximum: int, *, depth: int, is_known: bool) -> str | None:
    """Why an image of wide integers is probably not read at its camera's bit depth.

    Args:
      maximum: the largest value of the image.
      depth: the bit depth at which the image is read.
      is_known: whether training images of more than 8 bits have shown that depth.

    Returns:
      A sentence without its subject, or None if there is no reason to doubt.
    """
    if maximum >= 1 << depth:
        return (
            f"has values up to {maximum}, more than the {depth} bits of the training "
            "images: what is brighter than they can be is read as white"
        )
    used = bit_depth(maximum)
    if is_known or not maximum or used >= depth:
        return None
    return (
        f"has values up to {maximum}, as of a camera of {used} bits, and is read as "
        f"{depth} bits, since the training images have 8: if it has {used}, it is read "
        f"{1 << (depth - used)} times too dark"
    )


def _eight_bits(
    values: Shaped[np.ndarray, "h w *c"], depth: int, path: Path
) -> UInt8[np.ndarray, "h w *c"]:
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        return np.round(_unit(values, path) * 255).astype(np.uint8)
    scaled = values.astype(np.float64) / (1 << (max(depth, 8) - 8))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _unit(values: Float32[np.ndarray, "h w"], path: Path) -> Float64[np.ndarray, "h w"]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"{path} holds floats, which must be in [0, 1], got {low:g} to {high:g}"
        )
    return values.astype(np.float64)


def rgb_png(path: Path) -> bytes | None:
    """The file's bytes if any decoder reads the same pixels as `read_image`, else None.

    This holds for an 8-bit RGB PNG without transparency and without EXIF rotation. Its
    bytes can be stored unchanged, which saves encoding them again.
    """
    data = path.read_bytes()
    if data[:8] != _PNG or data[_PNG_FORMAT] != _EIGHT_BIT_RGB:
        return None
    with opened(path) as image:
        is_rotated = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return None if is_rotated or "transparency" in image.info else data


def png_bytes(array: np.ndarray) -> bytes:
    """Encode an 8-bit image as PNG, with light compression to be fast."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Decode the bytes that `png_bytes` returned."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def to_size(
    image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Resize an image of any height and width to `size`, without cutting anything off.

    Averages areas if neither side grows, else interpolates bilinearly.

    Args:
      size: height and width. Whether they keep the image's proportion is the caller's
        decision; see `datasets.framing`.
    """
    if image.shape[:2] == size:
        return image
    height, width = size
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    filtering = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize((width, height), filtering))


def image_sha256(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """sha256 of an image's size and pixels, independent of its file format."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
