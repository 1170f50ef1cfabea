"""The blending equation of the paper, and the exact mask of the changed pixels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from agm_torch.scene import Content, SoftMask

_INVISIBLE = 2.0
"""Grey levels. A pixel of which no channel changes by more keeps its old value."""


class Blend(NamedTuple):
    """An anomalous image and where it differs from the normal one."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]
    """255 in the mask, 0 outside. Outside, the two images are identical."""


def blend(
    normal: UInt8[np.ndarray, "h w 3"], mask: SoftMask, content: Content, *, beta: float
) -> Blend:
    """S = beta (M . N) + (1 - beta) (M . A) + (1 - M) . N (paper, section 3.2).

    For M in [0, 1] this is N + (1 - beta) M . (A - N). A pixel without a visible change
    keeps its value and leaves the mask, so that the mask shows what can be seen. Gaps
    and holes of the mask are closed.

    Args:
      beta: transparency in [0, 1), the share of the normal image in the mixture.
    """
    slices = mask.box.slices
    under = normal[slices]
    weight = ((1 - np.float32(beta)) * mask.alpha[slices])[:, :, None]
    change = weight * (content.pixels - under)
    mixed = (under + change).round().clip(0, 255).astype(np.uint8)
    visible = np.abs(mixed.astype(np.int16) - under).max(axis=2) > _INVISIBLE
    exact = _without_holes(visible) & (mask.alpha[slices] > 0)
    image, whole = normal.copy(), np.zeros(normal.shape[:2], np.uint8)
    image[slices] = np.where(exact[:, :, None], mixed, under)
    whole[slices] = exact * np.uint8(255)
    return Blend(image, whole)


def _without_holes(visible: np.ndarray) -> np.ndarray:
    padded = np.pad(visible, 2)
    closed = ndimage.binary_closing(padded, np.ones((3, 3), bool), iterations=1)
    return ndimage.binary_fill_holes(closed)[2:-2, 2:-2]  # pyright: ignore[reportOptionalSubscript]
