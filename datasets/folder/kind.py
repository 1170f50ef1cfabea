"""Guessing whether photographs show a texture or an object before a background."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SIDE_PX = 64
BORDER_PX = 4
OBJECT_RATIO = 0.5


def border_ratio(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Standard deviation of the border's lightness, divided by the whole image's.

    An object's background is even, so the ratio is well below 1. For a texture the
    ratio is about 1.
    """
    small = Image.fromarray(image).convert("L").resize((SIDE_PX, SIDE_PX))
    grey = np.asarray(small, np.float64)
    border = np.ones((SIDE_PX, SIDE_PX), bool)
    border[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    return float(grey[border].std() / max(grey.std(), 1e-6))


def guess_kind(images: Iterable[UInt8[np.ndarray, "h w 3"]]) -> str:
    """`object` if the images' median `border_ratio` is below `OBJECT_RATIO`."""
    ratio = float(np.median([border_ratio(image) for image in images]))
    return "object" if ratio < OBJECT_RATIO else "texture"
