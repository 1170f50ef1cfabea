"""Procedural noise of any size, smoothness and direction. The noise is not periodic.

Every function returns noise of zero mean and unit variance (over draws, not over one
image). So a factor on the noise is a standard deviation.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

Plane = Float32[np.ndarray, "h w"]

_LATTICE_SIGMA = 1.5
"""Standard deviation of the kernel in lattice steps, large enough that enlarging the
lattice leaves no visible pattern."""
_TRUNCATE = 3.0
_GAIN = 0.6
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
    """White noise smoothed by a Gaussian of standard deviation `sigma_px`.

    `sigma_px` is one value or (rows, columns). 0 does not smooth along that axis. Wide
    kernels are applied on a coarse lattice that is then enlarged, so the cost does not
    grow with `sigma_px`.
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
) -> Plane:
    """Sum of smooth noises of `coarsest_px`, half of it, a quarter, and so on.

    Every octave is multiplied by `_GAIN` relative to the previous one.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        sigma = coarsest_px / 2**octave
        layer = smooth_noise(rng, shape, sigma)
        total += np.float32(_GAIN**octave) * layer
    energy = sum(_GAIN ** (2 * octave) for octave in range(octaves))
    return total * np.float32(1 / math.sqrt(energy))


def streaks(
    rng: np.random.Generator,
    shape: tuple[int, int],
    layers: Sequence[tuple[float, float, float]],
    *,
    degrees: float,
) -> Plane:
    """Grain or brush marks along the rows, rotated by `degrees` (positive: clockwise).

    Every layer is (standard deviation across, standard deviation along, weight), with
    deviations in pixels.
    """
    margin = math.ceil(abs(math.tan(math.radians(degrees))) * max(shape) / 2) + 2
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    total = np.zeros(wide, np.float32)
    for across, along, weight in layers:
        total += np.float32(weight) * smooth_noise(rng, wide, (across, along))
    energy = sum(weight * weight for _, _, weight in layers)
    total *= np.float32(1 / math.sqrt(energy))
    rotated = Image.fromarray(total).rotate(-degrees, Image.Resampling.BICUBIC)
    return np.array(rotated, np.float32)[margin:-margin, margin:-margin]


def smooth_line(
    rng: np.random.Generator, length: int, sigma_px: float
) -> Float32[np.ndarray, " n"]:
    """One row of smooth noise."""
    return smooth_noise(rng, (1, length), (0.0, sigma_px))[0]
