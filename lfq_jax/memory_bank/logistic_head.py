"""A logistic regression on the distances from the shots, cell by cell.

It has some dozens of weights, and a penalty on them, so it cannot learn the few shots
nor the synthetic anomalies by heart as a network does. Where the two go wrong they go
wrong in other places, and their mean, in which it has the greater share, is mostly
better than the network's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, UInt8

from lfq_jax.ops.gaussian import blur_cells
from lfq_jax.ops.precision import exact_products

WIDE = 16.0
"""Deviation of the mean that stands for an image as a whole, in cells."""
BLURS = (0.0, 1.0, 2.5, WIDE)
"""Deviations of the Gaussian means about a cell that it is read with, in cells."""
CONTRAST = 0.5
"""Share of the mean log-odds in the wide surroundings that is taken off a cell's. Good
parts to come are strange as a whole (light, sheen, pose) more than variations of few
shots let the regression expect; a defect is strange beside what lies around it."""
PENALTY = 0.01
"""Of half the squared weights, beside the mean loss of a cell. Synthetic anomalies are
not the defects to come, and the cells of an image are much alike: without it the
regression learns which distances tell the synthetic ones, too."""
_MOSTLY = 0.25  # a cell counts as anomalous from this share of its pixels on
_ROUNDING = 1e-4  # a deviation that says nothing: distances are known to 1e-3
_CELLS = {True: 20_000, False: 40_000}  # of each label that the fit sees at most


class LogisticHead(NamedTuple):
    """The fitted regression. Arrays only."""

    weights: Float[Array, "f"]
    bias: Float[Array, ""]
    """With what good images have on average of the share that is taken off."""


@exact_products
def _surroundings(distances: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
    """Every cell's distances, and their means over larger and larger surroundings."""
    return jnp.concatenate([blur_cells(distances, sigma) for sigma in BLURS], axis=-1)


@exact_products
def head_log_odds(
    reader: LogisticHead, distances: Float[Array, "b h w c"]
) -> Float[Array, "b h w"]:
    """Logit of an anomaly in every cell, beside what lies around it."""
    fitted = _surroundings(distances) @ reader.weights
    wide = blur_cells(fitted[..., None], WIDE, repeats_border=True)[..., 0]
    return fitted - CONTRAST * wide + reader.bias


def fit_logistic_head(
    distances: Float16[np.ndarray, "n h w c"],
    masks: UInt8[np.ndarray, "n H W"],
    *,
    rng: np.random.Generator,
) -> LogisticHead:
    """The regression that tells the cells under `masks` from the others.

    Args:
      distances: of anomalous and of good images from shots they were not made from.
      masks: 1 where anomalous; at least one pixel is.
    """
    from sklearn.linear_model import LogisticRegression

    shares = _shares(masks, distances.shape[1:3])
    cells, labels = _drawn_cells(distances, shares, rng)
    mean, scale = cells.mean(0), cells.std(0)
    scale = np.where(scale > _ROUNDING, scale, np.inf)
    # scikit-learn counts the penalty against the sum over cells
    regression = LogisticRegression(max_iter=1000, C=1 / (PENALTY * len(cells)))
    regression.fit((cells - mean) / scale, labels)
    weights = regression.coef_[0] / scale
    bias = np.asarray(regression.intercept_)[0] - weights @ mean
    bias += CONTRAST * (cells[~labels] @ weights).mean()
    return LogisticHead(
        jnp.asarray(weights, jnp.float32), jnp.asarray(bias, jnp.float32)
    )


def _shares(masks: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Share of every cell's pixels that are anomalous. [n h w]"""
    n, height, width = masks.shape
    rows, columns = grid
    shape = (n, rows, height // rows, columns, width // columns)
    return masks.reshape(shape).mean((2, 4))


def _drawn_cells(
    distances: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Surroundings and label of cells drawn from all images; partly covered ones are
    left out."""
    wanted = {True: shares >= min(_MOSTLY, shares.max()), False: shares == 0}
    keep = np.zeros(shares.shape, bool)
    for label, candidates in wanted.items():
        places = np.flatnonzero(candidates)
        keep.flat[rng.permutation(places)[: _CELLS[label]]] = True
    cells = [
        np.asarray(_one_image(image))[chosen]
        for image, chosen in zip(distances, keep, strict=True)
    ]
    return np.concatenate(cells).astype(np.float64), shares[keep] > 0


@jax.jit
def _one_image(distances: Array) -> Array:
    return _surroundings(distances[None].astype(jnp.float32))[0]
