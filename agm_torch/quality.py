"""Gates that an anomaly must pass to be kept, and the reasons for a rejection."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from agm_torch.blending import Blend
from agm_torch.config import GeneratorConfig
from agm_torch.scene import Box, Scene, SoftMask

Reject = Literal[
    "missed",
    "spilled",
    "empty",
    "too_small",
    "too_large",
    "off_object",
    "faint",
    "indistinct",
]
_FEWEST_PIXELS = 4
_BLOCK_PX = 5
_SURROUNDINGS_PX = 12
_MEAN_DIFFERENCE = 1.13
"""Mean difference of two draws from a normal distribution, in standard deviations:
2 / sqrt(pi)."""
_LEAST_SPREAD = 3.0
"""Grey levels. The eye does not see a texture with less."""
_LEAST_ON_OBJECT = 0.2
"""Least share on the part of an anomaly that may leave the outline."""


def rejection(
    config: GeneratorConfig, scene: Scene, mask: SoftMask, result: Blend
) -> Reject | None:
    """The first gate that the anomaly fails, or None if it passes all."""
    slices = mask.box.slices
    exact = result.mask[slices] > 0
    pixels = int(exact.sum())
    share = pixels / result.mask.size
    if spills(scene.image, result):
        return "spilled"
    if not pixels:
        return "empty"
    if pixels < _FEWEST_PIXELS or share < min(config.min_area, mask.region.share / 4):
        return "too_small"
    if share > config.max_area:
        return "too_large"
    least = _LEAST_ON_OBJECT if mask.beyond_outline else 1.0
    if mask.region.inside[slices][exact].mean() < least:
        return "off_object"
    window = _widened(mask.box, scene.image.shape)
    exact = result.mask[window] > 0
    normal = scene.image[window].astype(np.float32)
    drawn = result.image[window].astype(np.float32)
    if np.abs(drawn - normal)[exact].mean() < config.min_change:
        return "faint"
    if contrast(normal, drawn, exact) < config.min_contrast:
        return "indistinct"
    return None


def spills(normal: UInt8[np.ndarray, "h w 3"], result: Blend) -> bool:
    """Whether a pixel outside the mask differs from the normal image in any bit.

    `blend` never changes one. Whatever replaces it must not either.
    """
    changed = result.image != normal
    changed[result.mask > 0] = False
    return bool(changed.any())


def _widened(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    return (
        slice(
            max(0, box.top - _SURROUNDINGS_PX),
            min(shape[0], box.bottom + _SURROUNDINGS_PX),
        ),
        slice(
            max(0, box.left - _SURROUNDINGS_PX),
            min(shape[1], box.right + _SURROUNDINGS_PX),
        ),
    )


def contrast(
    normal: Float32[np.ndarray, "h w 3"],
    drawn: Float32[np.ndarray, "h w 3"],
    exact: Bool[np.ndarray, "h w"],
) -> float:
    """How much an anomaly differs from another piece of the same texture.

    The largest of four changes inside the mask: of the mean colour, relative to the
    detail of the surroundings; of the coarse structure, relative to its own variation;
    of the contrast and of the amount of detail, as logarithms. Each is divided by the
    value that it reaches when a texture is exchanged for another piece of itself. This
    value falls with the root of the mask's size. Above 1, the anomaly shows something
    that the texture itself does not.

    Args:
      normal, drawn: a window with some surroundings, in grey levels.
      exact: the mask in that window.
    """
    grey_normal, grey_drawn = normal.mean(axis=2), drawn.mean(axis=2)
    chance = 1 / np.sqrt(exact.sum())
    detail = grey_normal - ndimage.uniform_filter(grey_normal, 9)
    spread = max(float(detail.std()), _LEAST_SPREAD)
    colour = float(np.abs((drawn - normal)[exact].mean(axis=0)).max()) / spread
    blocks, _ = _blocks(grey_normal, np.ones_like(exact))
    exchanged = max(_MEAN_DIFFERENCE * float(blocks.std()), _LEAST_SPREAD)
    coarse = _coarse_change(grey_drawn - grey_normal, exact) / exchanged
    deviation = _log_ratio(grey_drawn[exact].std(), grey_normal[exact].std())
    steps = _log_ratio(_detail(grey_drawn, exact), _detail(grey_normal, exact))
    return max(
        colour / (0.3 + 8 * chance),
        coarse / (1 + 3 * chance),
        max(deviation, steps) / (0.1 + 2.2 * chance),
    )


def _log_ratio(first: float, second: float) -> float:
    return abs(float(np.log((first + 2.0) / (second + 2.0))))


def _detail(grey: np.ndarray, exact: np.ndarray) -> float:
    """Mean absolute difference between neighbouring pixels inside the mask."""
    across = np.abs(np.diff(grey, axis=1))[exact[:, 1:] & exact[:, :-1]]
    down = np.abs(np.diff(grey, axis=0))[exact[1:] & exact[:-1]]
    steps = across.size + down.size
    return float(across.sum() + down.sum()) / max(steps, 1)


def _coarse_change(change: np.ndarray, exact: np.ndarray) -> float:
    """Mean absolute change inside the mask after averaging blocks of pixels."""
    means, filled = _blocks(change * exact, exact)
    return float((np.abs(means) * filled).sum() / max(int(filled.sum()), 1))


def _blocks(values: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of blocks of 5 x 5 pixels over the mask, and the mask's pixels in each."""
    rows, columns = (length // _BLOCK_PX * _BLOCK_PX for length in values.shape)
    shape = (rows // _BLOCK_PX, _BLOCK_PX, columns // _BLOCK_PX, _BLOCK_PX)
    sums = values[:rows, :columns].reshape(shape).sum(axis=(1, 3))
    filled = inside[:rows, :columns].reshape(shape).sum(axis=(1, 3))
    return sums / np.maximum(filled, 1), filled
