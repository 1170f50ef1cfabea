"""Normal photographs from disk, whatever their format: u8 RGB."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def photograph_paths(sources: Sequence[Path]) -> list[Path]:
    """The image files named, and those in the folders named, sorted by name.

    Raises:
      FileNotFoundError: a path does not exist, or a folder holds no image.
    """
    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(p for p in source.iterdir() if p.suffix.lower() in _SUFFIXES)
            if not found:
                raise FileNotFoundError(f"images: the folder {source} holds no image")
            paths += found
        elif source.is_file():
            paths.append(source)
        else:
            raise FileNotFoundError(f"images: {source} does not exist")
    return paths


def read_photograph(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """One photograph; grey is repeated, 16 bits become 8, transparency is dropped.

    Raises:
      ValueError: the file is no image, or cut short.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith("I"):
                grey = np.asarray(picture).astype(np.float32)
                scale = 257.0 if grey.max() > 255 else 1.0
                picture = Image.fromarray((grey / scale).round().astype(np.uint8))
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is not a whole image: {error}") from None
