"""Whether photographs show a texture that fills them, or an object before a ground."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SIDE_PX = 64
BORDER_PX = 4
OBJECT_RATIO = 0.5


def border_ratio(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Spread of the image's border over the spread of the whole image, by lightness.

    A ground behind an object is even: well below 1. A texture is alike everywhere.
    """
    small = Image.fromarray(image).convert("L").resize((SIDE_PX, SIDE_PX))
    grey = np.asarray(small, np.float64)
    border = np.ones((SIDE_PX, SIDE_PX), bool)
    border[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    return float(grey[border].std() / max(grey.std(), 1e-6))


def guess_kind(images: Iterable[UInt8[np.ndarray, "h w 3"]]) -> str:
    """`object` where the median border is less than half as varied as the image."""
    ratio = float(np.median([border_ratio(image) for image in images]))
    return "object" if ratio < OBJECT_RATIO else "texture"
