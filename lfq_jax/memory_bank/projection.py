"""Linear projections of features to those that are compared, group by group."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_SHRINKAGE = 1e-2  # added to every variance, as a share of its group's mean variance


class Projection(NamedTuple):
    """Projects features to those that are compared, group by group."""

    mean: Float[Array, "f"]
    matrix: Float[Array, "f g"]

    def __call__(self, features: Float[Array, "*b f"]) -> Float[Array, "*b g"]:
        return (features - self.mean) @ self.matrix


def whitening(features: Float[np.ndarray, "n f"], sizes: tuple[int, ...]) -> Projection:
    """A projection that decorrelates every group and gives all groups equal weight."""

    def fit_group(centred: np.ndarray) -> np.ndarray:
        variance, axes = np.linalg.eigh(np.cov(centred, rowvar=False))
        floor = _SHRINKAGE * variance.mean() + 1e-7
        size = len(variance)
        return axes / (np.sqrt(np.maximum(variance, 0) + floor) * np.sqrt(size))

    return _by_group(features, sizes, fit_group)


def principal_components(
    features: Float[np.ndarray, "n f"], sizes: tuple[int, ...], count: int
) -> Projection:
    """The projection on the first `count` principal axes of every group.

    Each group's total variance becomes 1. The axes are not whitened, because directions
    of small variance carry little information in a pretrained network's features.
    """

    def fit_group(centred: np.ndarray) -> np.ndarray:
        variance, axes = np.linalg.eigh(np.cov(centred, rowvar=False))
        widest = slice(None, -count - 1, -1)
        total = max(float(variance[widest].sum()), 1e-12)
        return axes[:, widest] / np.sqrt(total)

    return _by_group(features, sizes, fit_group)


def _by_group(
    features: np.ndarray,
    sizes: tuple[int, ...],
    fit_group: Callable[[np.ndarray], np.ndarray],
) -> Projection:
    flat = features.astype(np.float64)
    mean = flat.mean(0)
    ends = np.cumsum(sizes)[:-1]
    blocks = [fit_group(part) for part in np.split(flat - mean, ends, axis=1)]
    matrix = np.zeros((len(mean), sum(block.shape[1] for block in blocks)))
    row = column = 0
    for block in blocks:
        down, across = block.shape
        matrix[row : row + down, column : column + across] = block
        row, column = row + down, column + across
    return Projection(jnp.asarray(mean, jnp.float32), jnp.asarray(matrix, jnp.float32))
