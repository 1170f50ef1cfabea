"""Reading a photograph or a mask, whatever kind of image file it is."""

import contextlib
import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
MASK_THRESHOLD = 127
"""A mask's pixel is anomalous where it is above this, of 255."""
BIT_DEPTHS = (8, 10, 12, 14, 16)
UNKNOWN_DEPTH = 16
"""What integers of more than 8 bits are read by where nothing says more: all of them
count."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_FORMAT = slice(24, 26)  # of the file: bit depth and colour type
_EIGHT_BIT_RGB = bytes([8, 2])
_WIDE_INTEGERS = frozenset({"I", "I;16", "I;16B", "I;16L"})
_WIDE_MODES = _WIDE_INTEGERS | {"F"}
_QUARTER_TURNS = frozenset({5, 6, 7, 8})  # EXIF orientations
_OPENING = threading.Lock()  # warnings' filters belong to the whole process


def image_files(folder: Path, *, below: bool = False) -> list[Path]:
    """The images in `folder`, by name; none where there is no such folder.

    Hidden ones, such as the `._000.png` of a folder that was copied from a Mac, are
    left out.

    Args:
      below: those of the folders below it too, unless they are hidden.
    """
    if not folder.is_dir():
        return []
    found = folder.rglob("*") if below else folder.iterdir()
    images = (path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in images if not is_hidden(path, folder))


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether `path`, or a folder between it and `folder`, begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Image.Image]:
    """The opened file; what goes wrong while it is read becomes one ValueError."""
    try:
        with _OPENING, warnings.catch_warnings():
            # A large photograph is no attack; PIL refuses one of twice that size.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            yield image
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} is too large: at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels "
            "are read; cut it into pieces"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


def _open(path: Path) -> Image.Image:
    """A decoded image, turned upright.

    Raises:
      ValueError: where the file is not an image, is cut short, or has no pixels.
    """
    with _readable(path) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def is_wide(path: Path) -> bool:
    """Whether the file holds integers of more than 8 bits, by its header."""
    with _readable(path) as image:
        return image.mode in _WIDE_INTEGERS


def stored_maximum(path: Path) -> int:
    """The largest value in the file, which tells the bit depth of a 16-bit camera."""
    with _readable(path) as image:  # the header alone, unless it is such a camera's
        return int(np.asarray(image).max()) if image.mode in _WIDE_INTEGERS else 255


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width of what `read_image` makes of a file.

    Raises:
      ValueError: where the file is not an image.
    """
    with _readable(path) as image:
        turns = image.getexif().get(ExifTags.Base.Orientation, 1) in _QUARTER_TURNS
        return (image.width, image.height) if turns else (image.height, image.width)


def pixel_count(path: Path) -> int:
    """Pixels of a photograph by its header; 0 where it has none to be read."""
    try:
        with _readable(path) as image:
            return image.width * image.height
    except ValueError:
        return 0


def bit_depth(maximum: int) -> int:
    """The smallest usual bit depth that holds `maximum`."""
    return next((depth for depth in BIT_DEPTHS if maximum < 1 << depth), 16)


def read_image(path: Path, *, depth: int = 8) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph as 8-bit RGB.

    Grey is repeated over the channels, transparency is laid on black, and images of
    more than 8 bits are divided by 2^(depth - 8): one factor for a whole category keeps
    their brightness comparable. Floats are in [0, 1].

    Raises:
      ValueError: where the file is not a whole image, or holds other floats.
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
    """The values of a ground-truth mask, 0 to 255.

    16-bit masks that use more than 8 bits are brought to them first. A palette mask
    holds numbers of classes, not brightness: whatever is not black is 255.

    Raises:
      ValueError: where the file is not a whole image.
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
    """A ground-truth mask: True where `read_mask_levels` is above `threshold`.

    Raises:
      ValueError: where the file is not a whole image.
    """
    return read_mask_levels(path) > threshold


def rgb_png(path: Path) -> bytes | None:
    """The file as it is, where any decoder makes of it what `read_image` does.

    That is a PNG of 8-bit RGB, without transparency, that is to be shown unturned.
    Stored as it is it need not be encoded again, and keeps its own compression.
    """
    data = path.read_bytes()
    if data[:8] != _PNG or data[_PNG_FORMAT] != _EIGHT_BIT_RGB:
        return None
    with _readable(path) as image:
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return None if is_turned or "transparency" in image.info else data


def png_bytes(array: np.ndarray) -> bytes:
    """An 8-bit image as PNG, lightly compressed: preparation is bound by this."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """What `png_bytes` wrote."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def to_square(
    image: UInt8[np.ndarray, "h w 3"], image_px: int
) -> UInt8[np.ndarray, "p p 3"]:
    """An image at the resolution of the shards, whatever its size and aspect.

    Averages areas where it shrinks, interpolates bilinearly where it grows.
    """
    if image.shape[:2] == (image_px, image_px):
        return image
    shrinks = min(image.shape[:2]) >= image_px
    filtering = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    resized = Image.fromarray(image).resize((image_px, image_px), filtering)
    return np.asarray(resized)


def image_sha256(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """sha256 of an image's size and pixels, whatever file it came from."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
