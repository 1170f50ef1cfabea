"""Image files of all kinds, also those that Pillow does not write."""

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MODES = (
    *("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"),
    *("I", "I;16", "F"),
)
"""Pillow's modes of images."""
FORMATS = ("PNG", "TIFF", "JPEG", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "TGA")
_PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour type, by number of channels
_TIFF_FORMAT = {"u": 1, "i": 2, "f": 3}  # TIFF's sample format, by kind of numpy type


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """An RGB image in any of `MODES`; black for LAB, to which Pillow converts none."""
    if mode == "LAB":
        return Image.new("LAB", image.size)
    if mode == "I;16":
        return image.convert("I").convert("I;16")
    return image.convert("LA").convert("PA") if mode == "PA" else image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image's file in the format `kind`, or else in one that can store its mode."""
    for each in (kind, "TIFF", "PNG"):
        file = io.BytesIO()
        with contextlib.suppress(OSError, ValueError, KeyError):
            image.save(file, each, **options)
            return file.getvalue()
    return b"\0"


def png16(path: Path, array: np.ndarray) -> Path:
    """Write [h w] or [h w c] as a PNG of 16 bits: grey, LA, RGB or RGBA."""
    height, width = array.shape[:2]
    rows = array.reshape(height, -1).astype(">u2")
    colour = _PNG_COLOUR[rows.shape[1] // width]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks))
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def tiff(
    path: Path,
    array: np.ndarray,
    *,
    big_endian: bool = False,
    orientation: int = 1,
    opacity: int = 2,
    in_planes: bool = False,
    white_is_zero: bool = False,
) -> Path:
    """Write [h w] or [h w c] of any type as an uncompressed TIFF.

    Args:
      orientation: EXIF's.
      opacity: what the fourth channel is: 0 nothing, 1 premultiplied, 2 opacity.
      white_is_zero: grey of which 0 means white.
      in_planes: store the channels one after the other.
    """
    order = ">" if big_endian else "<"
    height, width = array.shape[:2]
    channels = 1 if array.ndim == 2 else array.shape[2]
    stored = np.moveaxis(array, -1, 0) if in_planes else array
    data = stored.astype(array.dtype.newbyteorder(order)).tobytes()
    parts = channels if in_planes else 1
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [array.dtype.itemsize * 8] * channels),
        259: (3, [1]),
        262: (3, [0 if white_is_zero else 1 if channels < 3 else 2]),
        273: (4, [len(data) // parts * i for i in range(parts)]),
        274: (3, [orientation]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(data) // parts] * parts),
        284: (3, [2 if in_planes else 1]),
        339: (3, [_TIFF_FORMAT[array.dtype.kind]] * channels),
    }
    if channels == 4:
        tags[338] = (3, [opacity])
    header = struct.pack(f"{order}2sHI", b"MM" if big_endian else b"II", 42, 8)
    path.write_bytes(header + _directory(tags, order) + data)
    return path


def _directory(tags: dict[int, tuple[int, list[int]]], order: str) -> bytes:
    """The directory of tags, which begins at byte 8, and the longer values after it."""
    long_values_at = 8 + 2 + 12 * len(tags) + 4
    sizes = {tag: len(v) * (2 if kind == 3 else 4) for tag, (kind, v) in tags.items()}
    data_at = long_values_at + sum(size for size in sizes.values() if size > 4)
    fields, long_values = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        offset = data_at if tag == 273 else 0
        packed = b"".join(
            struct.pack(order + "HI"[kind - 3], value + offset) for value in values
        )
        if len(packed) > 4:
            place = struct.pack(order + "I", long_values_at + len(long_values))
            packed, long_values = place, long_values + packed
        fields += struct.pack(order + "HHI", tag, kind, len(values))
        fields += packed.ljust(4, b"\0")
    return struct.pack(order + "H", len(tags)) + fields + bytes(4) + long_values
