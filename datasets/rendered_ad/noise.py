"""Procedural noise: smooth or rough, stretched or not, of any size, never periodic.

Every function gives zero mean and unit variance (over draws, not over one image),
so an amplitude beside it is a standard deviation.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

Plane = Float32[np.ndarray, "h w"]

_LATTICE_SIGMA = 1.5
"""Standard deviation of the kernel in lattice steps; enlarging is then invisible."""
_TRUNCATE = 3.0
_SPARE = 5
"""Lattice points beyond the border: the kernel's reach, so nothing wraps around."""


def _kernel_energy(sigma: float) -> float:
    """Sum of squares of ndimage's one-dimensional Gaussian weights."""
    if sigma == 0:
        return 1.0
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return float(np.sum((weights / weights.sum()) ** 2))


def smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    sigma_px: float | tuple[float, float],
) -> Plane:
    """White noise under a Gaussian of standard deviation `sigma_px` (rows, columns).

    Wide kernels work on a coarse lattice that is enlarged afterwards, so the cost
    does not grow with `sigma_px`. 0 leaves an axis as it is.
    """
    sigmas = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    steps = [max(1.0, sigma / _LATTICE_SIGMA) for sigma in sigmas]
    kernel = [sigma / step for sigma, step in zip(sigmas, steps, strict=True)]
    lattice = [
        math.ceil(length / step) + 2 * _SPARE + 1
        for length, step in zip(shape, steps, strict=True)
    ]
    noise = rng.standard_normal(lattice, np.float32)
    noise = ndimage.gaussian_filter(noise, kernel, mode="wrap", truncate=_TRUNCATE)
    noise *= np.float32(1 / math.sqrt(math.prod(map(_kernel_energy, kernel))))
    top, left = (_SPARE + (rng.uniform() if step > 1 else 0.0) for step in steps)
    bottom, right = top + shape[0] / steps[0], left + shape[1] / steps[1]
    enlarged = Image.fromarray(noise).resize(
        (shape[1], shape[0]),
        Image.Resampling.BICUBIC,
        box=(left, top, right, bottom),
    )
    return np.array(enlarged, np.float32)


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    coarsest_px: float,
    octaves: int,
    gain: float = 0.6,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Plane:
    """Smooth noise of `coarsest_px` and of its halves, each `gain` times the last.

    `stretch` lengthens the noise along (rows, columns).
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        sigma = coarsest_px / 2**octave
        layer = smooth_noise(rng, shape, (sigma * stretch[0], sigma * stretch[1]))
        total += np.float32(gain**octave) * layer
    energy = sum(gain ** (2 * octave) for octave in range(octaves))
    return total * np.float32(1 / math.sqrt(energy))


def streaks(
    rng: np.random.Generator,
    shape: tuple[int, int],
    layers: Sequence[tuple[float, float, float]],
    *,
    degrees: float,
) -> Plane:
    """Grain or brush marks along the rows, turned by `degrees` (positive: clockwise).

    A layer is (standard deviation across in pixels, along in pixels, weight).
    """
    margin = math.ceil(abs(math.tan(math.radians(degrees))) * max(shape) / 2) + 2
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    total = np.zeros(wide, np.float32)
    for across, along, weight in layers:
        total += np.float32(weight) * smooth_noise(rng, wide, (across, along))
    energy = sum(weight * weight for _, _, weight in layers)
    total *= np.float32(1 / math.sqrt(energy))
    turned = Image.fromarray(total).rotate(-degrees, Image.Resampling.BICUBIC)
    return np.array(turned, np.float32)[margin:-margin, margin:-margin]


def smooth_line(
    rng: np.random.Generator, length: int, sigma_px: float
) -> Float32[np.ndarray, " n"]:
    """One row of smooth noise: a wavering line, or a tone along an axis."""
    return smooth_noise(rng, (1, length), (0.0, sigma_px))[0]
