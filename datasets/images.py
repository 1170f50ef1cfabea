"""Reading a photograph or a mask from any supported kind of image file."""

import contextlib
import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from PIL import ExifTags, Image, ImageOps

MASK_THRESHOLD = 127
"""A mask's pixel is anomalous if its value is above this, of 255."""
BIT_DEPTHS = (8, 10, 12, 14, 16)
UNKNOWN_DEPTH = 16
"""Bit depth assumed for integers of more than 8 bits whose camera is unknown."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_FORMAT = slice(24, 26)  # of the file: bit depth and colour type
_EIGHT_BIT_RGB = bytes([8, 2])
_WIDE_INTEGERS = frozenset({"I", "I;16", "I;16B", "I;16L"})
_WIDE_MODES = _WIDE_INTEGERS | {"F"}
_QUARTER_TURNS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap the sides
_SUBFILE_TYPE, _REDUCED = 254, 1  # TIFF tag of a page, and its bit for smaller copies
_WARNINGS_LOCK = threading.Lock()  # warning filters are global to the process


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Image.Image]:
    """Open an image; any read error becomes a ValueError that names the file."""
    try:
        with _WARNINGS_LOCK, warnings.catch_warnings():
            # PIL warns above a size limit, and refuses images above twice that limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            yield image
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} is too large: at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels "
            "are read; cut it into pieces"
        ) from error
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


def _open(path: Path) -> Image.Image:
    """Decode an image and rotate it upright, as its EXIF data says.

    Raises:
      ValueError: the file is not an image, is truncated, or has no pixels.
    """
    with _readable(path) as image:
        image.load()
        if image.mode == "LAB":  # Pillow converts every mode but this one to RGB
            raise ValueError("colours of mode LAB are not supported, save it as RGB")
        return ImageOps.exif_transpose(image)


def is_wide(path: Path) -> bool:
    """Whether the file holds integers of more than 8 bits. Reads only the header."""
    with _readable(path) as image:
        return image.mode in _WIDE_INTEGERS


def stored_maximum(path: Path) -> int:
    """The largest value in the file, from which `bit_depth` infers the bit depth.

    It is 255 for files of 8 bits and of floats, of which only the header is read.
    """
    with _readable(path) as image:
        return int(np.asarray(image).max()) if image.mode in _WIDE_INTEGERS else 255


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width of the array that `read_image` returns for a file.

    Raises:
      ValueError: the file is not an image.
    """
    with _readable(path) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation in _QUARTER_TURNS:
            return image.width, image.height
        return image.height, image.width


def pixel_count(path: Path) -> int:
    """Number of pixels according to the file's header; 0 if it cannot be read."""
    try:
        with _readable(path) as image:
            return image.width * image.height
    except ValueError:
        return 0


def page_count(path: Path) -> int:
    """Number of pages or frames in a file; 1 if it cannot be read.

    Smaller copies of a page, which some TIFF files hold, are not counted.
    """
    try:
        with _readable(path) as image:
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


def read_image(path: Path, *, depth: int = 8) -> UInt8[np.ndarray, "h w 3"]:
    """Read a photograph as 8-bit RGB.

    Grey images are repeated over the channels. Transparent images are composited on
    black. Integers of more than 8 bits are divided by 2^(depth - 8); using one depth
    for a whole category keeps brightness comparable. Floats must be in [0, 1].

    Raises:
      ValueError: the file is not a complete image, or holds floats outside [0, 1].
    """
    image = _open(path)
    if image.mode == "F":
        grey = np.round(_unit(np.asarray(image), path) * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in _WIDE_MODES:
        values = np.asarray(image).astype(np.float64) / (1 << (max(depth, 8) - 8))
        grey = np.clip(values, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, image)
    return np.asarray(image.convert("RGB"))


def _unit(values: Float32[np.ndarray, "h w"], path: Path) -> Float64[np.ndarray, "h w"]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"{path} holds floats, which must be in [0, 1], got {low:g} to {high:g}"
        )
    return values.astype(np.float64)


def read_mask_levels(path: Path) -> UInt8[np.ndarray, "h w"]:
    """Read a ground-truth mask as values from 0 to 255.

    16-bit masks with values above 255 are divided by 257. A palette mask holds class
    numbers rather than brightness, so every colour but black becomes 255.

    Raises:
      ValueError: the file is not a complete image.
    """
    image = _open(path)
    if image.mode in _WIDE_MODES:
        values = np.asarray(image).astype(np.float64)
        values /= 257 if values.max() > 255 else 1
        return values.clip(0, 255).astype(np.uint8)
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB")).max(axis=-1)
        return np.where(colours > 0, 255, 0).astype(np.uint8)
    return np.asarray(image.convert("L"))


def read_mask(
    path: Path, *, threshold: int = MASK_THRESHOLD
) -> Bool[np.ndarray, "h w"]:
    """Read a ground-truth mask: True where `read_mask_levels` is above `threshold`.

    Raises:
      ValueError: the file is not a complete image.
    """
    return read_mask_levels(path) > threshold


def rgb_png(path: Path) -> bytes | None:
    """The file's bytes if any decoder reads the same pixels as `read_image`, else None.

    This holds for an 8-bit RGB PNG without transparency and without EXIF rotation. Its
    bytes can be stored unchanged, which saves encoding them again.
    """
    data = path.read_bytes()
    if data[:8] != _PNG or data[_PNG_FORMAT] != _EIGHT_BIT_RGB:
        return None
    with _readable(path) as image:
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


def to_square(
    image: UInt8[np.ndarray, "h w 3"], image_px: int
) -> UInt8[np.ndarray, "p p 3"]:
    """Resize an image of any size and aspect ratio to a square.

    Averages areas if both sides are at least `image_px`, else interpolates bilinearly.
    """
    if image.shape[:2] == (image_px, image_px):
        return image
    shrinks = min(image.shape[:2]) >= image_px
    filtering = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    resized = Image.fromarray(image).resize((image_px, image_px), filtering)
    return np.asarray(resized)


def image_sha256(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """sha256 of an image's size and pixels, independent of its file format."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
