"""Objects without weights: the part is what the border's colours do not explain.

A smooth colour model (one quadratic surface per channel) is fitted robustly to the
image's border, and everything far from it is foreground. If this finds nothing, or
nearly everything, the part fills the frame or the background is not plain: the whole
image is the region, and the region's name says so. The whole image is taken, too, if
the foreground has many pieces of all sizes: then a part that fills the frame, such as a
circuit board, was mistaken for the background of its components.
"""

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from agm_torch.config import GeneratorConfig
from agm_torch.scene import Region

_SMALLEST, _LARGEST = 0.02, 0.92
_BORDER_SHARE = 0.04
_MAX_BORDER_FOREGROUND = 0.6
_MOST_PIECES = 8
_SPECK = 0.002
"""Share of the image below which a piece is not counted."""
_LEAST_DISTANCE = 12.0
"""Grey levels. A smaller difference is noise or shadow."""


class Foreground:
    """Region source for objects on a plain background."""

    def __init__(self, config: GeneratorConfig) -> None:
        del config

    def regions(
        self, image: UInt8[np.ndarray, "h w 3"], category: str
    ) -> tuple[Region, ...]:
        inside, _ = find_foreground(image)
        if inside.all():
            return (Region(inside, "whole image, no foreground found"),)
        return (Region(inside, "foreground"),)


def find_foreground(
    image: UInt8[np.ndarray, "h w 3"],
) -> tuple[Bool[np.ndarray, "h w"], Float32[np.ndarray, "h w 3"]]:
    """Mask of the part, all True where none was found, and the background model."""
    pixels = image.astype(np.float32)
    background, noise = _background(pixels)
    distance = np.sqrt(np.square(pixels - background).sum(axis=2))
    distance = ndimage.gaussian_filter(distance, 0.004 * max(distance.shape))
    inside = distance > max(_LEAST_DISTANCE, 4 * noise, 0.5 * _otsu(distance))
    inside, pieces = _cleaned(inside)
    plausible = _SMALLEST < inside.mean() < _LARGEST and pieces <= _MOST_PIECES
    if not plausible or inside[_border(inside.shape)].mean() > _MAX_BORDER_FOREGROUND:
        inside = np.ones_like(inside)
    return inside, background


def _background(
    pixels: Float32[np.ndarray, "h w 3"],
) -> tuple[Float32[np.ndarray, "h w 3"], float]:
    """Quadratic colour surface fitted to the border, and the border's deviation."""
    height, width = pixels.shape[:2]
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32),
        np.linspace(-1, 1, width, dtype=np.float32),
        indexing="ij",
    )
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    border = _border((height, width))
    known, values = terms[border], pixels[border]
    near = np.median(values, axis=0)
    deviation = np.sqrt(np.square(values - near).sum(axis=1))
    keep = deviation <= np.quantile(deviation, 0.7) + 1e-3
    surface = np.zeros((terms.shape[-1], 3), np.float32)
    for _ in range(3):
        surface = np.linalg.lstsq(known[keep], values[keep], rcond=None)[0]
        deviation = np.sqrt(np.square(values - known @ surface).sum(axis=1))
        keep = deviation <= max(np.quantile(deviation, 0.6) * 2, 2.0)
    return (terms @ surface).clip(0, 255), float(np.median(deviation[keep]))


def _border(shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """True on the edge of the image."""
    edge = max(2, round(_BORDER_SHARE * min(shape)))
    border = np.ones(shape[:2], bool)
    border[edge:-edge, edge:-edge] = False
    return border


def _cleaned(
    inside: Bool[np.ndarray, "h w"],
) -> tuple[Bool[np.ndarray, "h w"], int]:
    """The mask without gaps, holes and pieces below a fifth of the largest.

    Returns:
      The mask, and the number of its pieces before, specks not counted.
    """
    steps = max(1, round(0.008 * min(inside.shape)))
    inside = ndimage.binary_closing(np.pad(inside, steps), iterations=steps)
    inside = ndimage.binary_fill_holes(inside)[steps:-steps, steps:-steps]  # pyright: ignore[reportOptionalSubscript]
    inside = ndimage.binary_opening(inside, iterations=steps)
    labels = np.empty(inside.shape, np.int32)
    if not ndimage.label(inside, output=labels):
        return np.zeros_like(inside), 0
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.concatenate([[False], sizes >= 0.2 * sizes.max()])
    return kept[labels], int((sizes >= _SPECK * inside.size).sum())


def _otsu(values: Float32[np.ndarray, "h w"]) -> float:
    """The threshold that best separates two classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * gap**2)
    return float(centres[int(np.argmax(between))])
