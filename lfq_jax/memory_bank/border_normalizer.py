"""TODO docstring of lfq_jax.memory_bank.border_normalizer."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BORDER_CELLS = 16


def cells_from_border(rows: int, columns: int) -> np.ndarray:
    """How many cells away the nearest border is, 0 at it. [rows columns]"""
    row, column = np.arange(rows), np.arange(columns)
    row, column = np.minimum(row, row[::-1]), np.minimum(column, column[::-1])
    return np.minimum(row[:, None], column)


def fit_border_baseline(found: Float[np.ndarray, "n h w c"]) -> Float[Array, "r c"]:
    """How much more `compare` finds on good parts near the border than far from it.

    At the border a filter sees half as much, and chance looks like a defect there.
    """
    flat = found.reshape(len(found), -1, found.shape[-1]).astype(np.float64)
    by_cell = flat.mean(0)
    depth = np.minimum(cells_from_border(*found.shape[1:3]).ravel(), _BORDER_CELLS)
    counts = np.bincount(depth)
    sums = np.stack([np.bincount(depth, channel) for channel in by_cell.T], axis=-1)
    means = sums / counts[:, None]
    return jnp.asarray(means - means[-1], jnp.float32)
