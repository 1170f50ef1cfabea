"""A fixed filter bank: features of the neighbourhood of every cell, without learning.

In each octave the features are local colour and the local energy of oriented edges and
ridges. They distinguish most textures (Leung and Malik 2001; Varma and Zisserman 2005).
The finest octaves add the strongest lines nearby, for scratches and cracks that a mean
would hide.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ORIENTATIONS = 4
COLOURS = 3
STRUCTURES = 3 * ORIENTATIONS
"""Edges, bright ridges and dark ridges, each in all orientations."""
LINES = 2 * 8
"""Bright and dark lines, each in eight orientations."""
_LINE_OCTAVES = 3  # the finest octaves; in coarser ones, lines add nothing to ridges
_LINE_SIGMA_PX = (1.0, 3.0)  # across and along
_LINE_RADIUS_PX = 7
_LINE_POOL_PX = 7  # least window of the maximum, in pixels of the octave
_AT_ONCE_PX = 4  # neighbours in a row that `filtered` computes together
_RADIUS_PX = 3
_POOL_SIGMA_PX = 1.5  # smoothing of energies, in pixels of their octave
_ENERGY_FLOOR = 1e-4  # keeps the slope of the square root finite


def group_sizes(levels: int) -> tuple[int, ...]:
    """Number of features in each group, from the finest to the coarsest octave.

    Each octave has the groups colour and structure. The finest octaves also have lines.
    """
    with_lines = min(levels, _LINE_OCTAVES)
    fine = (COLOURS, STRUCTURES, LINES) * with_lines
    return fine + (COLOURS, STRUCTURES) * (levels - with_lines)


def derivatives() -> np.ndarray:
    """Kernels [7 7 1 8]: alternating first and second Gaussian derivatives, sigma 1."""
    side = np.arange(-_RADIUS_PX, _RADIUS_PX + 1, dtype=np.float64)
    y, x = np.meshgrid(side, side, indexing="ij")
    gaussian = np.exp(-(x * x + y * y) / 2)
    gaussian /= gaussian.sum()
    kernels = []
    for i in range(ORIENTATIONS):
        angle = math.pi * i / ORIENTATIONS
        along = math.cos(angle) * x + math.sin(angle) * y
        second = (along * along - 1) * gaussian
        second -= gaussian * second.sum()  # no response to a constant image
        kernels += [-along * gaussian, second]
    return np.stack(kernels, -1)[:, :, None].astype(np.float32)


def _elongated() -> np.ndarray:
    """Kernels [15 15 1 8]: second Gaussian derivatives across a line, of norm 1/2."""
    r = _LINE_RADIUS_PX
    y, x = np.mgrid[-r : r + 1, -r : r + 1].astype(np.float64)
    across_px, along_px = _LINE_SIGMA_PX
    kernels = []
    for i in range(LINES // 2):
        angle = math.pi * i / (LINES // 2)
        across = math.cos(angle) * x + math.sin(angle) * y
        along = math.cos(angle) * y - math.sin(angle) * x
        gaussian = np.exp(-0.5 * ((across / across_px) ** 2 + (along / along_px) ** 2))
        gaussian /= gaussian.sum()
        second = ((across / across_px) ** 2 - 1) * gaussian
        second -= gaussian * second.sum()  # no response to a constant image
        kernels.append(0.5 * second / np.linalg.norm(second))
    return np.stack(kernels, -1)[:, :, None].astype(np.float32)


def _pool_sigma(cell: float) -> float:
    # 0.29 cells is the deviation of a uniform distribution over one cell.
    return math.hypot(_POOL_SIGMA_PX, 0.29 * max(cell, 1.0))


def sampling(
    size: int, grid: int, sigma_of: Callable[[float], float] = _pool_sigma
) -> np.ndarray:
    """Matrix [grid size] that computes Gaussian means about the centres of equal cells.

    Args:
      size: number of pixels along the axis.
      grid: number of cells.
      sigma_of: the Gaussian's deviation as a function of a cell's width, in pixels.
    """
    cell = size / grid
    centres = (np.arange(grid) + 0.5) * cell - 0.5
    sigma = sigma_of(cell)
    weights = np.exp(-0.5 * ((centres[:, None] - np.arange(size)) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def on_grid(
    x: Float[Array, "b h w c"],
    rows: int,
    columns: int,
    sigma_of: Callable[[float], float] = _pool_sigma,
) -> Float[Array, "b rows columns c"]:
    """Gaussian means of x about the centres of equal cells; see `sampling`."""
    down = jnp.asarray(sampling(x.shape[1], rows, sigma_of))
    across = jnp.asarray(sampling(x.shape[2], columns, sigma_of))
    halfway = jnp.einsum("ih,bhwc->biwc", down, x)
    return jnp.einsum("jw,biwc->bijc", across, halfway)


def halved(x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    """Means of 2 x 2 pixels. The sides must be even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def filtered(
    lightness: Float[Array, "b h w 1"], kernels: np.ndarray
) -> Float[Array, "b h w k"]:
    """Responses of `kernels` [s s 1 k] at every pixel; the border is mirrored.

    Neighbouring pixels of a row are output channels of one convolution, each with its
    kernels shifted by one more pixel. With many channels a CPU is five times as fast as
    with few, and the results are equal to the bit.
    """
    b, h, w, _ = lightness.shape
    r, k = len(kernels) // 2, kernels.shape[-1]
    beyond = -w % _AT_ONCE_PX
    padded = jnp.pad(lightness, ((0, 0), (r, r), (r, r), (0, 0)), mode="reflect")
    padded = jnp.pad(padded, ((0, 0), (0, 0), (0, beyond), (0, 0)))
    found = jax.lax.conv_general_dilated(
        padded,
        jnp.asarray(_side_by_side(kernels)),
        (1, _AT_ONCE_PX),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return found.reshape(b, h, w + beyond, k)[:, :, :w]


def _side_by_side(kernels: np.ndarray) -> np.ndarray:
    """`kernels` [s s 1 k], shifted to each of n neighbours: [s s+n-1 1 n*k]."""
    s, _, _, k = kernels.shape
    n = _AT_ONCE_PX
    wide = np.zeros((s, s + n - 1, 1, n, k), kernels.dtype)
    for i in range(n):
        wide[:, i : i + s, :, i] = kernels
    return wide.reshape(s, s + n - 1, 1, n * k)


def _structure(lightness: Float[Array, "b h w 1"]) -> Array:
    response = filtered(lightness, derivatives())
    edge, ridge = response[..., 0::2], response[..., 1::2]
    bright, dark = jnp.maximum(ridge, 0), jnp.maximum(-ridge, 0)
    return jnp.concatenate([jnp.abs(edge), bright, dark], -1)


def _strongest(
    response: Float[Array, "b h w c"], rows: int, columns: int
) -> Float[Array, "b rows columns 2*c"]:
    """Maxima of the response and of its negative, about the centres of equal cells."""
    both = [_highest(x, rows, columns) for x in (response, -response)]
    return jnp.concatenate(both, axis=-1)


def _highest(x: Float[Array, "b h w c"], rows: int, columns: int) -> Array:
    """Maxima, at least 0, about the centres of cells.

    One axis after the other, since a CPU reads every value of every window.
    """
    return _highest_along(_highest_along(x, 1, rows), 2, columns)


def _highest_along(x: Float[Array, "b h w c"], axis: int, cells: int) -> Array:
    step = max(1, x.shape[axis] // cells)
    window = max(_LINE_POOL_PX, step)
    before = (window - step + 1) // 2
    pooled = maxima_along(x, axis, window=window, step=step, before=before)
    if pooled.shape[axis] == cells:
        return pooled
    return jnp.take(pooled, np.arange(cells) * pooled.shape[axis] // cells, axis=axis)


def maxima_along(x: Array, axis: int, *, window: int, step: int, before: int) -> Array:
    """Maxima, at least 0, of windows along one axis; one window per step.

    Args:
      x: any array.
      axis: the axis of the windows.
      window: number of values in each window.
      step: distance between neighbouring windows.
      before: number of positions that the first window starts before the first value.
    """
    sizes, steps, about = [1] * x.ndim, [1] * x.ndim, [(0, 0)] * x.ndim
    sizes[axis], steps[axis] = window, step
    about[axis] = before, window - step - before
    return jax.lax.reduce_window(x, 0.0, jax.lax.max, sizes, steps, about)


def describe(
    images: Float[Array, "b h w 3"], *, levels: int, stride: int
) -> Float[Array, "b h//{stride} w//{stride} f"]:
    """Features of every cell of `stride` x `stride` pixels, in groups (`group_sizes`).

    Args:
      images: in [0, 1]; their sides are multiples of `stride` and of 2^(levels - 1).
      levels: number of octaves.
      stride: side of a cell in pixels.
    """
    rows, columns = images.shape[1] // stride, images.shape[2] // stride
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    octave = jnp.stack(
        [images.mean(-1), red - green, (red + green) / 2 - blue], axis=-1
    )
    features = []
    for level in range(levels):
        octave = halved(octave) if level else octave
        features.append(on_grid(octave, rows, columns))
        lightness = octave[..., :1]
        energies = [on_grid(_structure(lightness), rows, columns)]
        if level < _LINE_OCTAVES:
            lines = filtered(lightness, _elongated())
            energies.append(_strongest(lines, rows, columns))
        # The square root reduces the range between faint and strong structure.
        features += [jnp.sqrt(energy + _ENERGY_FLOOR) for energy in energies]
    return jnp.concatenate(features, axis=-1)
