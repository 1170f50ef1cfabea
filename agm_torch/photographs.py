"""Finds and reads the normal images of a request."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from datasets.images import bit_depth, read_image, stored_maximum
from datasets.listing import photographs_of

logger = logging.getLogger(__name__)


def photograph_paths(sources: Sequence[Path]) -> list[Path]:
    """The named image files and those in the named folders, which are sorted by name.

    Logs what a folder holds besides photographs.

    Raises:
      FileNotFoundError: a path does not exist, or a folder holds no image.
      ValueError: a folder holds what cannot be used.
    """
    paths, lines = photographs_of(sources, "images")
    for line in lines:
        logger.warning("%s", line)
    return paths


def read_photographs(paths: Sequence[Path]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Images of one camera, read by `datasets.images.read_image`.

    Images of more than 8 bits share one scale: the bit depth of the brightest.

    Raises:
      ValueError: a file is not an image, or truncated.
    """
    depth = bit_depth(max(map(stored_maximum, paths), default=0))
    return [read_image(path, depth=depth) for path in paths]
