"""Decoding an image file to the values it stores, with all of their bits.

Pillow decodes colours of 16 bits to their high bytes. Here such a file is decoded twice
by Pillow, for the high and for the low bytes, so that every compression of PNG and TIFF
that Pillow can read is read with all bits, and so is PPM. Other formats are refused if
Pillow would drop bits.
"""

import contextlib
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

WIDE_GREY = frozenset({"I", "I;16", "I;16B", "I;16L"})
_WIDE_COLOUR = re.compile(r"(RGB|RGBA|RGBX|RGBa|LA);16([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_MOST = 65535
_WARNINGS_LOCK = threading.Lock()  # warning filters are global to the process
_QUARTER_TURNS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap the sides
_SEPARATE_PLANES = 2  # value of the TIFF tag "planar configuration"
_WHITE_IS_ZERO = 0  # value of the TIFF tag "photometric interpretation"
_UNSIGNED = 1  # value of the TIFF tag "sample format"
_J2K_START = b"\xff\x4f\xff\x51"  # of a JPEG 2000 stream, before its sizes
_J2K_BITS_AT = 42  # bytes after the start: bits of the first channel, minus 1
_HEADER_BYTES = 65536


class Stored(NamedTuple):
    """The values of an image file, upright."""

    values: Shaped[np.ndarray, "h w *c"]
    """Grey [h w] or RGB [h w 3]: uint8, uint16, int32, uint32 or float32."""
    alpha: Shaped[np.ndarray, "h w"] | None
    """Opacity, uint8 or uint16; None if the file has none."""
    numbers: UInt8[np.ndarray, "h w"] | None
    """Index of each pixel's colour in the file's palette; None without a palette."""
    is_lossy: bool
    """Whether the compression adds noise, as JPEG does."""
    is_premultiplied: bool = False
    """Whether the colours were already multiplied by the opacity."""

    @property
    def is_wide(self) -> bool:
        """Whether the values are integers of more than 8 bits."""
        return self.values.dtype.kind in "iu" and self.values.dtype != np.uint8

    @property
    def maximum(self) -> int | float:
        """The largest value of a pixel that is not wholly transparent, at least 0."""
        seen = self.values if self.alpha is None else self.values[self.alpha > 0]
        return seen.max(initial=0).item()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
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


def has_wide_integers(image: Image.Image) -> bool:
    """Whether an opened image stores integers of more than 8 bits. Decodes nothing."""
    return image.mode in WIDE_GREY or _wide_colour(image) is not None


def decode_file(path: Path) -> Stored:
    """Decode a file with all bits, and rotate it upright as its EXIF data says.

    Raises:
      ValueError: the file is not an image, is truncated, or is a TIFF whose colours of
        16 bits are stored in separate planes, or is of a format of which Pillow would
        drop bits.
    """
    with opened(path) as image:
        _refuse_separate_planes(image)
        _refuse_dropped_bits(path, image)
        channels = _wide_colour(image)
        if channels is None:
            return _decode_loaded(_upright(image), image)
        declared = _ppm_maximum(image.tile[0])  # pyright: ignore[reportAttributeAccessIssue]
    stored = _decode_wide(path, channels)
    if declared in (None, _MOST):
        return stored
    # Pillow, too, stretches greys of such a file to 16 bits.
    stretched = np.rint(stored.values * (_MOST / declared)).clip(0, _MOST)
    return stored._replace(values=stretched.astype(np.uint16))


def upright_shape(image: Image.Image) -> tuple[int, int]:
    """Height and width of an opened image after `decode_file`. Decodes nothing."""
    # Pillow's own size of a TIFF may be rotated already.
    tags = getattr(image, "tag_v2", {})
    width = tags.get(TiffImagePlugin.IMAGEWIDTH, image.width)
    height = tags.get(TiffImagePlugin.IMAGELENGTH, image.height)
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return (width, height) if orientation in _QUARTER_TURNS else (height, width)


def _upright(image: Image.Image) -> Image.Image:
    # Pillow maps an uncompressed file into memory if it knows the name, and then
    # garbles a TIFF that is rotated by a quarter turn.
    image.filename = ""  # pyright: ignore[reportAttributeAccessIssue]
    image.load()
    return ImageOps.exif_transpose(image)


def _wide_colour(image: Image.Image) -> str | None:
    """The channels of an image in 16-bit colour, or in grey with opacity, else None."""
    for tile in getattr(image, "tile", ()):
        match = _WIDE_COLOUR.fullmatch(_raw_mode(tile))
        if match:
            return match[1]
    return None


def _ppm_maximum(tile: Any) -> int | None:
    """The largest value that a PPM file in wide colour declares; else None."""
    is_wide = tile[0] == "ppm" and tile[3][0] == "RGB" and tile[3][1] > 255
    return tile[3][1] if is_wide else None


def _raw_mode(tile: Any) -> str:
    if _ppm_maximum(tile):
        return "RGB;16B"
    arguments = tile[3]
    mode = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    return mode if isinstance(mode, str) else ""


def _refuse_separate_planes(image: Image.Image) -> None:
    tags = getattr(image, "tag_v2", {})
    planes = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1)
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    deepest = max(bits) if isinstance(bits, tuple) else bits
    several = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1
    if planes == _SEPARATE_PLANES and several and deepest > 8:
        raise ValueError(
            f"its colours of {deepest} bits are stored in separate planes: save it "
            "with the colours of each pixel together"
        )


def _refuse_dropped_bits(path: Path, image: Image.Image) -> None:
    """Raise a ValueError if Pillow would decode more than 8 bits to 8."""
    for codec, _, _, arguments in getattr(image, "tile", ()):
        is_plain_ppm = codec == "ppm_plain" and image.mode == "RGB"
        is_wide = is_plain_ppm and arguments[1] > 255
        is_wide |= codec == "SGI16" or (codec == "sgi_rle" and arguments[2] > 1)
        if codec == "jpeg2k" and not has_wide_integers(image):
            is_wide |= _j2k_bits(path) > 8
        if is_wide:
            raise ValueError(
                f"more than 8 bits are not read of this kind of {image.format}: save "
                "it as PNG or TIFF"
            )


def _j2k_bits(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    at = start.find(_J2K_START) + _J2K_BITS_AT
    return (start[at] & 0x7F) + 1 if at < len(start) else 0


def _decode_loaded(image: Image.Image, file: Image.Image) -> Stored:
    """The values of a decoded image; `file` is as Pillow opened it, with its tags."""
    is_lossy = file.format in {"JPEG", "MPO"}
    if image.mode == "LAB":  # Pillow converts every mode but this one to RGB
        raise ValueError("colours of mode LAB are not supported, save it as RGB")
    if image.mode in WIDE_GREY:
        return Stored(_wide_grey(image, file), None, None, is_lossy)
    if image.mode == "F":
        return Stored(np.asarray(image), None, None, is_lossy)
    numbers = np.asarray(image) if image.mode == "P" else None
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        return Stored(rgba[..., :3], rgba[..., 3], numbers, is_lossy)
    grey = image.mode in {"1", "L"}
    values = np.asarray(image.convert("L" if grey else "RGB"))
    return Stored(values, None, numbers, is_lossy)


def _wide_grey(image: Image.Image, file: Image.Image) -> Shaped[np.ndarray, "h w"]:
    """The image's integers in the machine's byte order."""
    values = np.asarray(image)
    values = values.astype(values.dtype.newbyteorder("="))
    tags = getattr(file, "tag_v2", {})
    sample_format = tags.get(TiffImagePlugin.SAMPLEFORMAT, 0)
    # Pillow decodes unsigned integers of 32 bits as signed ones.
    if values.dtype == np.int32 and _UNSIGNED in np.atleast_1d(sample_format):
        return values.view(np.uint32)
    is_inverted = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    if values.dtype == np.uint16 and is_inverted:  # Pillow inverts 8 bits alone
        return np.uint16(_MOST) - values
    return values


def _decode_wide(path: Path, channels: str) -> Stored:
    if channels == "LA":
        # Grey and opacity take four bytes: those of an 8-bit RGBA pixel.
        pairs = _decode_as(path, ("RGBA", "RGBA")).astype(np.uint16)
        values = pairs[..., 0::2] << 8 | pairs[..., 1::2]
    else:
        high = _decode_as(path, None).astype(np.uint16)
        values = high << 8 | _decode_as(path, "other order")
    if channels in {"RGB", "RGBX"}:
        return Stored(values[..., :3], None, None, False)
    colours = values[..., 0] if channels == "LA" else values[..., :3]
    return Stored(colours, values[..., -1], None, False, channels == "RGBa")


def _decode_as(
    path: Path, raw: tuple[str, str] | str | None
) -> UInt8[np.ndarray, "h w c"]:
    """Decode a file of wide colours to one byte of each value.

    Args:
      raw: None for the high bytes; "other order" for the low bytes, which are the high
        bytes if the values are read in the other byte order; or another pair of
        Pillow's mode and raw mode.
    """
    with opened(path) as image:
        tiles: Sequence[Any] = image.tile  # pyright: ignore[reportAttributeAccessIssue]
        mode = image.mode
        changed = []
        for tile in tiles:
            channels, order = _WIDE_COLOUR.fullmatch(_raw_mode(tile)).groups()  # pyright: ignore[reportOptionalMemberAccess]
            # Premultiplied colours are read as they are: dividing loses bits.
            channels = channels.replace("RGBa", "RGBA")
            order = order if raw is None else _OTHER_ORDER[order]
            new = f"{channels};16{order}"
            if isinstance(raw, tuple):
                mode, new = raw
            rest = tile[3]
            arguments = new if isinstance(rest, str) else (new, *rest[1:])
            codec = tile.codec_name
            if _ppm_maximum(tile):
                codec, arguments = "raw", (new, 0, 1)
            changed.append(tile._replace(codec_name=codec, args=arguments))
        image.tile = changed  # pyright: ignore[reportAttributeAccessIssue]
        image._mode = mode  # pyright: ignore[reportAttributeAccessIssue]
        return np.asarray(_upright(image))
