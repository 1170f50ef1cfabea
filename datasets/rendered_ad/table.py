"""The matte table that parts lie on: grain, a few dust specks, uneven brightness."""

import functools

import numpy as np

from datasets.rendered_ad.noise import smooth_noise
from datasets.rendered_ad.shading import Radiance, blur
from datasets.rendered_ad.shapes import Plane

SPARE_PX = 256


@functools.lru_cache(maxsize=16)
def _grain_sheet(side_px: int, sigma_px: float) -> Plane:
    """A sheet of noise that `grain` takes pieces of, because drawing noise is slow."""
    seed = (side_px, round(1000 * sigma_px))
    sheet = np.random.default_rng(seed).standard_normal((side_px, side_px), np.float32)
    sheet = blur(sheet, sigma_px)
    sheet /= sheet.std()
    sheet.flags.writeable = False
    return sheet


def grain(rng: np.random.Generator, size_px: int, sigma_px: float) -> Plane:
    """Fine noise of unit variance, correlated over about `sigma_px` pixels."""
    sheet = _grain_sheet(size_px + SPARE_PX, sigma_px)
    row, column = rng.integers(0, SPARE_PX, 2)
    piece = sheet[row : row + size_px, column : column + size_px]
    piece = piece[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    return piece.T if rng.integers(0, 2) else piece


def soft_noise(rng: np.random.Generator, size_px: int, cells: int) -> Plane:
    """Smooth noise of unit variance, with about `cells` maxima across the image."""
    return smooth_noise(rng, (size_px, size_px), 0.5 * size_px / cells)


def table_albedo(
    rng: np.random.Generator,
    size_px: int,
    colour: tuple[float, float, float],
    *,
    contrast: float = 0.03,
) -> Radiance:
    """Linear RGB of an empty table of about `colour`, with a little dust."""
    tone = 1 + np.float32(rng.normal(0, 0.02))
    shade = 1 + np.float32(contrast) * grain(rng, size_px, 1.2)
    shade += np.float32(0.012) * soft_noise(rng, size_px, 5)
    for _ in range(int(rng.integers(2, 7))):
        row, column = rng.integers(0, size_px - 4, 2)
        height, width = rng.integers(2, 4, 2)
        shade[row : row + height, column : column + width] *= rng.uniform(0.75, 1.25)
    return (tone * shade)[..., None] * np.asarray(colour, np.float32)
