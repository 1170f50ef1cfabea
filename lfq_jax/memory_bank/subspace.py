"""Residual of every cell outside the principal subspace of the shots' patches.

SubspaceAD (Lendering, Akdag and Bondarev, "SubspaceAD: Training-Free Few-Shot Anomaly
Detection via Subspace Modeling", CVPR 2026, arXiv:2602.23013).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.config import SubspaceConfig
from lfq_jax.ops.precision import exact_products

_LARGEST = 4.0
"""Bound of the squared residual: the distance of two vectors in the unit ball is at
most 2."""


class Moments(NamedTuple):
    """Sums over patches, which add up over shots. float64, on the host."""

    number: int
    total: Float[np.ndarray, "f"]
    """Sum of the vectors."""
    products: Float[np.ndarray, "f f"]
    """Sum of their outer products."""

    @classmethod
    def of(cls, patches: Float[Array | np.ndarray, "n f"]) -> "Moments":
        wide = np.asarray(patches, np.float64)
        return cls(len(wide), wide.sum(0), wide.T @ wide)

    @classmethod
    def together(cls, parts: Sequence["Moments"]) -> "Moments":
        """The moments of all patches of the parts."""
        number, total, products = parts[0]
        for part in parts[1:]:
            number += part.number
            total, products = total + part.total, products + part.products
        return cls(number, total, products)


class Subspace(NamedTuple):
    """What lies outside the principal subspace. Arrays only."""

    mean: Float[Array, "f"]
    residual_axes: Float[Array, "f r"]
    """Orthonormal axes of the directions that the subspace leaves out."""


def fit_subspace(moments: Moments, variance_kept: float) -> Subspace:
    """The fewest principal components that exceed this share of the variance."""
    mean = moments.total / moments.number
    covariance = moments.products / moments.number - np.outer(mean, mean)
    rising, axes = np.linalg.eigh(covariance)
    variance = np.maximum(rising[::-1], 0.0)
    kept = 0
    if variance.sum() > 0:
        shares = np.cumsum(variance) / variance.sum()
        kept = int(np.searchsorted(shares, variance_kept, side="right")) + 1
    left_out = axes[:, ::-1][:, kept:]
    return Subspace(jnp.asarray(mean, jnp.float32), jnp.asarray(left_out, jnp.float32))


@exact_products
def quarter_squared_residual(
    subspace: Subspace, features: Float[Array, "*b f"]
) -> Float[Array, "*b"]:
    """A quarter of the squared residual of vectors of length 1, in [0, 1]."""
    outside = (features - subspace.mean) @ subspace.residual_axes
    return jnp.clip((outside * outside).sum(-1) / _LARGEST, 0.0, 1.0)


def random_turns_deg(config: SubspaceConfig, *, seed: int, shot: int) -> list[float]:
    """Angles of the rotations: 0, then random ones.

    Args:
      seed: of the run.
      shot: index of the shot. Every shot has angles of its own.
    """
    drawn = np.random.default_rng((seed, shot)).uniform(0, 360, config.rotations)
    return [0.0, *drawn.tolist()]
