"""Border baseline: additional distance of good cells near the border.

`distance_maps_of` subtracts it.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BORDER_CELLS = 16


def cells_from_border(rows: int, columns: int) -> np.ndarray:
    """Distance of every cell from the nearest border, in cells; 0 at the border.
    [rows columns]"""
    row, column = np.arange(rows), np.arange(columns)
    row, column = np.minimum(row, row[::-1]), np.minimum(column, column[::-1])
    return np.minimum(row[:, None], column)


def no_border_baseline(rows: int, columns: int, channels: int) -> Float[Array, "r c"]:
    """A baseline that subtracts nothing, of the shape that is fitted on this grid."""
    deepest = min(int(cells_from_border(rows, columns).max()), _BORDER_CELLS)
    return jnp.zeros((deepest + 1, channels))


def fit_border_baseline(distances: Float[np.ndarray, "n h w c"]) -> Float[Array, "r c"]:
    """Mean distance of good parts by distance from the border, less the mean inside.

    Near the border a filter sees only half as much, and a random pattern looks like a
    defect there.

    Args:
      distances: of good parts, as `distance_maps_of` computes them.

    Returns:
      One row for each of the first 16 distances from the border, then a row of zeros
      that applies to all deeper cells.
    """
    flat = distances.reshape(len(distances), -1, distances.shape[-1])
    by_cell = flat.astype(np.float64).mean(0)
    depth = np.minimum(cells_from_border(*distances.shape[1:3]).ravel(), _BORDER_CELLS)
    counts = np.bincount(depth)
    sums = np.stack([np.bincount(depth, channel) for channel in by_cell.T], axis=-1)
    means = sums / counts[:, None]
    return jnp.asarray(means - means[-1], jnp.float32)
