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

BLURS = (0.0, 1.0, 2.5)
"""Deviations of the Gaussian means about a cell that it is read with, in cells."""
PENALTY = 0.01
"""Of half the squared weights, beside the mean loss of a cell. Synthetic anomalies are
not the defects to come, and the cells of an image are much alike: without it the
regression learns which distances tell the synthetic ones, too."""
_MOSTLY = 0.25  # a cell counts as anomalous from this share of its pixels on
_CELLS = {True: 20_000, False: 40_000}  # of each label that the fit sees at most


class Reader(NamedTuple):
    """The fitted regression. Arrays only."""

    weights: Float[Array, "f"]
    bias: Float[Array, ""]


def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    cell = np.arange(size)
    weights = np.exp(-0.5 * ((cell[:, None] - cell) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _surroundings(distances: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
    """Every cell's distances, and their means over larger and larger surroundings."""
    found = []
    for sigma in BLURS:
        blurred = distances
        if sigma:
            down = _blur_matrix(distances.shape[1], sigma)
            across = _blur_matrix(distances.shape[2], sigma)
            blurred = jnp.einsum("ih,bhwc->biwc", down, blurred)
            blurred = jnp.einsum("jw,biwc->bijc", across, blurred)
        found.append(blurred)
    return jnp.concatenate(found, axis=-1)


def read(reader: Reader, distances: Float[Array, "b h w c"]) -> Float[Array, "b h w"]:
    """Logit of an anomaly in every cell."""
    return _surroundings(distances) @ reader.weights + reader.bias


def fit_reader(
    distances: Float16[np.ndarray, "n h w c"],
    masks: UInt8[np.ndarray, "n H W"],
    *,
    seed: int,
) -> Reader:
    """The regression that tells the cells under `masks` from the others.

    Args:
      distances: of anomalous and of good images from shots they were not made from.
      masks: 1 where anomalous; at least one pixel is.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng((seed, 2))
    cells, labels = _drawn_cells(distances, _shares(masks, distances.shape[1:3]), rng)
    scaler = StandardScaler().fit(cells)
    # scikit-learn counts the penalty against the sum over cells
    regression = LogisticRegression(max_iter=1000, C=1 / (PENALTY * len(cells)))
    regression.fit(scaler.transform(cells), labels)
    weights = regression.coef_[0] / scaler.scale_
    bias = np.asarray(regression.intercept_)[0] - weights @ scaler.mean_
    return Reader(jnp.asarray(weights, jnp.float32), jnp.asarray(bias, jnp.float32))


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
