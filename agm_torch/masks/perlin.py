"""Perlin noise of any size: matrix products per octave, no loop over pixels."""

import numpy as np
from jaxtyping import Float32


def perlin_noise(
    shape: tuple[int, int], cells: tuple[float, float], rng: np.random.Generator
) -> Float32[np.ndarray, "h w"]:
    """Gradient noise (Perlin 2002) at a random phase, approximately in [-1, 1].

    The noise of a pixel is the sum over its four lattice corners of weight times
    (gradient . offset). Weight and offset separate into rows and columns, so the noise
    of all pixels is W_y G_x D_x^T + D_y G_y W_x^T, where W holds the weights and
    D the weights times the offsets.

    Args:
      shape: height and width in pixels.
      cells: lattice cells down and across, which need not be whole numbers.
    """
    weight_y, offset_y = _lattice(shape[0], cells[0], rng.random())
    weight_x, offset_x = _lattice(shape[1], cells[1], rng.random())
    corners = (weight_y.shape[1], weight_x.shape[1])
    angle = rng.random(corners, dtype=np.float32) * np.float32(2 * np.pi)
    across = weight_y @ np.cos(angle) @ offset_x.T
    down = offset_y @ np.sin(angle) @ weight_x.T
    return (across + down) * np.float32(np.sqrt(2))


def fractal_noise(
    shape: tuple[int, int],
    cells: tuple[float, float],
    octaves: int,
    rng: np.random.Generator,
    *,
    persistence: float = 0.5,
) -> Float32[np.ndarray, "h w"]:
    """Sum of octaves of Perlin noise, each finer and fainter than the previous one.

    Args:
      persistence: amplitude of an octave relative to the previous one.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        finer = (cells[0] * 2**octave, cells[1] * 2**octave)
        if max(finer[0] / shape[0], finer[1] / shape[1]) > 0.5 and octave:
            break  # finer than pixels
        total += np.float32(persistence**octave) * perlin_noise(shape, finer, rng)
    return total


def random_cells(
    rng: np.random.Generator, *, low: float = 1.0, high: float = 32.0
) -> tuple[float, float]:
    """Numbers of lattice cells down and across, each log-uniform in [low, high].

    They are drawn separately, so that streaks are as frequent as spots.
    """
    down, across = np.exp(rng.uniform(np.log(low), np.log(high), size=2))
    return float(down), float(across)


def _lattice(
    pixels: int, cells: float, phase: float
) -> tuple[Float32[np.ndarray, "p c"], Float32[np.ndarray, "p c"]]:
    """W and D of one axis: weights of the corners, and weights times offsets."""
    position = (np.arange(pixels, dtype=np.float32) + 0.5) * (cells / pixels) + phase
    corner = np.floor(position).astype(np.intp)
    offset = position - corner
    fade = offset**3 * (offset * (offset * 6 - 15) + 10)
    rows = np.arange(pixels)
    weight = np.zeros((pixels, int(corner[-1]) + 2), np.float32)
    slope = np.zeros_like(weight)
    weight[rows, corner], weight[rows, corner + 1] = 1 - fade, fade
    slope[rows, corner] = (1 - fade) * offset
    slope[rows, corner + 1] = fade * (offset - 1)
    return weight, slope
