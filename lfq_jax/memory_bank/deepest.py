"""The distance by the deepest stage, and how it changes the odds of an image score.

The logistic head learns from synthetic anomalies which distances matter, and gives fine
ones much weight. Real parts differ from good ones in the deepest stage more than
synthetic anomalies do. So the image score also follows this distance, by how unusual it
is for good parts, and no anomaly decides how much.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16

FARTHEST = 0.01
"""Share of an image's cells, the farthest, whose mean distance is the image's."""
NEAR = -1.0
"""Deviations from the mean up to which a distance changes nothing. An image that is
nearer than this has no more reason to be good. The statistics are of images that were
compared with one shot less, so new good images are mostly nearer than the mean."""
_LEAST = 0.04
"""Added to every distance, of vectors of length 4. So the logarithm is finite where an
image equals a shot, and where the shots have no texture at all."""
_MOST_LOG_ODDS = 80.0
"""More would overflow, where the shots have no texture and the weight is large."""
_LEAST_DEVIATION = 0.05
"""Added, as a square, to the variance. Variations of two shots show only a part of how
good parts differ."""


class DeepestStatistics(NamedTuple):
    """Statistics of varied good shots, each compared with the other shots."""

    mean: Float[Array, ""]
    """Of the logarithm of an image's distance."""
    deviation: Float[Array, ""]
    """Standard deviation of the same."""


def fit_deepest_statistics(
    distances: Float16[np.ndarray, "n h w"],
) -> DeepestStatistics:
    """The statistics of good images' distances by the deepest stage."""
    flat = distances.reshape(len(distances), -1).astype(np.float64)
    count = max(1, round(FARTHEST * flat.shape[1]))
    logarithms = np.log(np.sort(flat)[:, -count:].mean(1) + _LEAST)
    deviation = np.hypot(logarithms.std(), _LEAST_DEVIATION)
    return DeepestStatistics(
        jnp.asarray(logarithms.mean(), jnp.float32), jnp.asarray(deviation, jnp.float32)
    )


def deepest_odds_factors(
    distances: Float[Array, "b h w"], statistics: DeepestStatistics, weight: float
) -> Float[Array, "b h w"]:
    """By how much each cell would multiply the odds of the image score; 1 or more.

    Args:
      weight: log-odds for each standard deviation of good images, from `NEAR` on.
    """
    deviations = (jnp.log(distances + _LEAST) - statistics.mean) / statistics.deviation
    change = weight * jnp.maximum(deviations - NEAR, 0.0)
    return jnp.exp(jnp.minimum(change, _MOST_LOG_ODDS))
