"""A logistic regression on the distances from the shots, cell by cell.

It has only a few dozen weights, and a penalty on them. So unlike a network, it cannot
memorise the few shots or the synthetic anomalies. The regression and the network make
their errors in different places. Their mean, in which the regression has the larger
weight, is mostly better than the network alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float16, Float64, UInt8

from lfq_jax.ops.gaussian import blur_cells
from lfq_jax.ops.precision import exact_products

WIDE = 16.0
"""Standard deviation, in cells, of the Gaussian mean that stands for a whole image."""
BLURS = (0.0, 1.0, 2.5, WIDE)
"""Standard deviations, in cells, of the Gaussian means around a cell that are used as
its features."""
CONTRAST = 0.5
"""Share of the mean log-odds in the wide surround that is subtracted from a cell's. New
good parts differ as a whole (light, sheen, pose) more than variations of a few shots
show the regression. A defect differs from what surrounds it."""
FILTER_CONTRAST = 1.0
"""The share for distances of the filter bank beside a backbone. The grain of a whole
image says little about defects, and the backbone sees those of a whole image."""
PENALTY = 0.01
"""Weight of half the squared weights, added to the mean loss of a cell. Synthetic
anomalies are not real defects, and the cells of an image are very similar. Without the
penalty the regression also learns which distances identify synthetic anomalies."""
_ANOMALOUS_SHARE = 0.25
"""Share of a cell's pixels from which the cell is labelled anomalous."""
_LEAST_DEVIATION = 1e-4
"""A feature with a smaller deviation is ignored: distances have a precision of 1e-3."""
_MOST_CELLS = {True: 20_000, False: 40_000}
"""Largest number of cells in the fit, by label; True: anomalous."""


class LogisticHead(NamedTuple):
    """The fitted regression. Arrays only."""

    weights: Float[Array, "f"]
    surround_weights: Float[Array, "f"]
    """Weights of the log-odds that are subtracted, as a mean over the wide surround."""
    bias: Float[Array, ""]
    """Intercept. Includes the mean, over good training cells, of the surround term that
    prediction subtracts."""


@exact_products
def _cell_features(distances: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
    """Every cell's distances, and their means over larger and larger surrounds."""
    return jnp.concatenate([blur_cells(distances, sigma) for sigma in BLURS], axis=-1)


@exact_products
def head_log_odds(
    head: LogisticHead, distances: Float[Array, "b h w c"]
) -> Float[Array, "b h w"]:
    """Log-odds of an anomaly in every cell, relative to its surround."""
    features = _cell_features(distances)
    subtracted = features @ head.surround_weights
    surround = blur_cells(subtracted[..., None], WIDE, repeats_border=True)[..., 0]
    return features @ head.weights - surround + head.bias


class Cells(NamedTuple):
    """Cells that a regression is fitted to."""

    features: Float64[np.ndarray, "n f"]
    is_anomalous: Bool[np.ndarray, "n"]

    @property
    def channels(self) -> int:
        """Number of channels of the distances that the features come from."""
        return self.features.shape[1] // len(BLURS)


def draw_cells(
    distances: Float16[np.ndarray, "n h w c"],
    masks: UInt8[np.ndarray, "n H W"],
    *,
    rng: np.random.Generator,
) -> Cells:
    """Draw cells from all images.

    Args:
      distances: of anomalous and good images, from shots they were not made from.
      masks: 1 where anomalous. At least one pixel is 1.
    """
    shares = _anomalous_shares(masks, distances.shape[1:3])
    return Cells(*_draw_cells(distances, shares, rng))


def fit_logistic_head(
    drawn: Cells,
    *,
    weighs_surround: bool = True,
    contrast: float | Sequence[float] = CONTRAST,
    ignored: Sequence[bool] | None = None,
) -> LogisticHead:
    """Fit the regression to distinguish the anomalous cells from the others.

    Args:
      weighs_surround: whether the mean distances of the wide surround get weights of
        their own. Else they only count in the contrast.
      contrast: share of the mean log-odds in the wide surround that is subtracted, of
        all channels or of each.
      ignored: channels that get no weight. None: none of them.
    """
    from sklearn.linear_model import LogisticRegression

    cells, labels = drawn
    mean, scale = cells.mean(0), cells.std(0)
    scale = np.where(scale > _LEAST_DEVIATION, scale, np.inf)
    if not weighs_surround:
        scale[-drawn.channels :] = np.inf  # of the last blur, the widest
    if ignored is not None:
        scale[np.tile(np.asarray(ignored), len(BLURS))] = np.inf
    # scikit-learn adds the penalty to the loss's sum over cells, not to its mean.
    regression = LogisticRegression(max_iter=1000, C=1 / (PENALTY * len(cells)))
    regression.fit((cells - mean) / scale, labels)
    weights = regression.coef_[0] / scale
    shares = np.broadcast_to(contrast, (drawn.channels,))
    surround_weights = np.tile(shares, len(BLURS)) * weights
    bias = np.asarray(regression.intercept_)[0] - weights @ mean
    bias += (cells[~labels] @ surround_weights).mean()
    fitted = (weights, surround_weights, bias)
    return LogisticHead(*(jnp.asarray(each, jnp.float32) for each in fitted))


def mixed_heads(
    first: LogisticHead, second: LogisticHead, weight: float
) -> LogisticHead:
    """The head whose log-odds are the weighted mean of two heads'.

    Args:
      weight: of the second.
    """
    return LogisticHead(
        *((1.0 - weight) * a + weight * b for a, b in zip(first, second, strict=True))
    )


def _anomalous_shares(masks: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Share of every cell's pixels that are anomalous. [n h w]"""
    n, height, width = masks.shape
    rows, columns = grid
    shape = (n, rows, height // rows, columns, width // columns)
    return masks.reshape(shape).mean((2, 4))


def _draw_cells(
    distances: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of cells drawn from all images.

    Cells that are partly anomalous, but less than `_ANOMALOUS_SHARE`, are left out.
    """
    least = min(_ANOMALOUS_SHARE, shares.max())
    candidates = {True: shares >= least, False: shares == 0}
    keep = np.zeros(shares.shape, bool)
    for label, is_candidate in candidates.items():
        positions = np.flatnonzero(is_candidate)
        keep.flat[rng.permutation(positions)[: _MOST_CELLS[label]]] = True
    cells = [
        np.asarray(_features_of_image(image))[chosen]
        for image, chosen in zip(distances, keep, strict=True)
    ]
    return np.concatenate(cells).astype(np.float64), shares[keep] > 0


@jax.jit
def _features_of_image(distances: Array) -> Array:
    return _cell_features(distances[None].astype(jnp.float32))[0]
