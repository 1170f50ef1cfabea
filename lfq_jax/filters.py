"""A fixed filter bank: what an image looks like around every point, without learning.

Each octave gives local colour and the local energy of oriented edges and ridges, which
tells most textures apart (Leung and Malik 2001; Varma and Zisserman 2005).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ORIENTATIONS = 4
COLOURS = 3
STRUCTURES = 3 * ORIENTATIONS
"""Edges, bright ridges and dark ridges, each in every orientation."""
_RADIUS_PX = 3
_POOL_SIGMA_PX = 1.5  # of energies, in pixels of their octave
_ENERGY_FLOOR = 1e-4  # keeps the slope of the square root finite


def group_sizes(levels: int) -> tuple[int, ...]:
    """Features in each group: colour and structure of every octave, fine to coarse."""
    return (COLOURS, STRUCTURES) * levels


def _derivatives() -> np.ndarray:
    """Kernels [7 7 1 8]: first and second Gaussian derivative, sigma 1 px, in turn."""
    side = np.arange(-_RADIUS_PX, _RADIUS_PX + 1, dtype=np.float64)
    y, x = np.meshgrid(side, side, indexing="ij")
    gaussian = np.exp(-(x * x + y * y) / 2)
    gaussian /= gaussian.sum()
    kernels = []
    for i in range(ORIENTATIONS):
        angle = math.pi * i / ORIENTATIONS
        along = math.cos(angle) * x + math.sin(angle) * y
        second = (along * along - 1) * gaussian
        second -= gaussian * second.sum()  # blind to what is flat
        kernels += [-along * gaussian, second]
    return np.stack(kernels, -1)[:, :, None].astype(np.float32)


def _sampling(size: int, grid: int) -> np.ndarray:
    """Matrix [grid size]: Gaussian means about the centres of `grid` equal cells."""
    cell = size / grid
    centres = (np.arange(grid) + 0.5) * cell - 0.5
    sigma = math.hypot(_POOL_SIGMA_PX, 0.29 * max(cell, 1.0))  # the cell's own width
    weights = np.exp(-0.5 * ((centres[:, None] - np.arange(size)) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _on_grid(x: Float[Array, "b h w c"], rows: int, columns: int) -> Array:
    down = jnp.asarray(_sampling(x.shape[1], rows))
    across = jnp.asarray(_sampling(x.shape[2], columns))
    halfway = jnp.einsum("ih,bhwc->biwc", down, x)
    return jnp.einsum("jw,biwc->bijc", across, halfway)


def _halved(x: Float[Array, "b h w c"]) -> Array:
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def _structure(lightness: Float[Array, "b h w 1"]) -> Array:
    r = _RADIUS_PX
    padded = jnp.pad(lightness, ((0, 0), (r, r), (r, r), (0, 0)), mode="reflect")
    response = jax.lax.conv_general_dilated(
        padded,
        jnp.asarray(_derivatives()),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    edge, ridge = response[..., 0::2], response[..., 1::2]
    return jnp.concatenate(
        [jnp.abs(edge), jnp.maximum(ridge, 0), jnp.maximum(-ridge, 0)], -1
    )


def describe(
    images: Float[Array, "b h w 3"], *, levels: int, stride: int
) -> Float[Array, "b h//{stride} w//{stride} f"]:
    """Features of every cell of `stride` x `stride` pixels, 15 an octave.

    Args:
      images: in [0, 1]; their sides are multiples of `stride` and of 2^(levels - 1).
      levels: octaves.
    """
    rows, columns = images.shape[1] // stride, images.shape[2] // stride
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    octave = jnp.stack(
        [images.mean(-1), red - green, (red + green) / 2 - blue], axis=-1
    )
    features = []
    for level in range(levels):
        octave = _halved(octave) if level else octave
        features.append(_on_grid(octave, rows, columns))
        energy = _on_grid(_structure(octave[..., :1]), rows, columns)
        # The square root brings faint structure and strong closer together.
        features.append(jnp.sqrt(energy + _ENERGY_FLOOR))
    return jnp.concatenate(features, axis=-1)
