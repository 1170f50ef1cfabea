"""Finds and reads the normal images of a request."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from datasets.images import bit_depth, image_files, read_image, stored_maximum


def photograph_paths(sources: Sequence[Path]) -> list[Path]:
    """The named image files and those in the named folders, which are sorted by name.

    Raises:
      FileNotFoundError: a path does not exist, or a folder holds no image.
    """
    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = image_files(source)
            if not found:
                raise FileNotFoundError(f"images: the folder {source} holds no image")
            paths += found
        elif source.is_file():
            paths.append(source)
        else:
            raise FileNotFoundError(f"images: {source} does not exist")
    return paths


def read_photographs(paths: Sequence[Path]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Images of one camera, read by `datasets.images.read_image`.

    Images of more than 8 bits share one scale: the bit depth of the brightest.

    Raises:
      ValueError: a file is not an image, or truncated.
    """
    depth = bit_depth(max(map(stored_maximum, paths), default=0))
    return [read_image(path, depth=depth) for path in paths]
