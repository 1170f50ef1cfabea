"""What a principal subspace or an autoencoder leaves of a backbone's features.

Both are fitted to the shots. The nearest neighbour compares a cell with single patches.
A subspace and an autoencoder compare it with what all patches have in common.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16

from lfq_jax.config import MemoryBankConfig
from lfq_jax.config.memory_bank import Residual
from lfq_jax.memory_bank.feature_autoencoder import (
    FeatureAutoencoder,
    fit_feature_autoencoder,
    reconstruction_residuals,
)
from lfq_jax.memory_bank.features import LENGTH, stages_of
from lfq_jax.memory_bank.logistic_head import CONTRAST, WIDE
from lfq_jax.memory_bank.searches import FINE_STRIDE
from lfq_jax.memory_bank.subspace import (
    Moments,
    Subspace,
    fit_subspace,
    quarter_squared_residual,
)
from lfq_jax.ops.gaussian import blur_cells

_LEAST_DEVIATION = 1e-3
_MOST_LOG_ODDS = 40.0
"""More would overflow, where the shots have no texture."""
VARIANCE = 0.99
"""Share of the patches' variance that the subspace keeps, as in SubspaceAD."""


class FeatureResiduals(NamedTuple):
    """What is fitted to the shots' features. Arrays only."""

    subspace: Subspace | None = None
    autoencoder: FeatureAutoencoder | None = None


class ReconstructionStatistics(NamedTuple):
    """Statistics of the cells of varied good shots, compared with the other shots."""

    mean: Float[Array, ""]
    """Of the distance from the reconstruction."""
    deviation: Float[Array, ""]
    """Standard deviation of the same."""


def _coarse_stages(config: MemoryBankConfig) -> dict[int, int]:
    """Number of features of each coarse stage, by the index of its source.

    If every stage is fine, the last one stands for them.
    """
    assert config.backbone is not None
    stages = stages_of(config.backbone)
    first = 1 if config.filter_levels else 0
    coarse = {
        first + i: stage.channels
        for i, stage in enumerate(stages)
        if stage.stride > FINE_STRIDE
    }
    return coarse or {first + len(stages) - 1: stages[-1].channels}


def residual_channels(config: MemoryBankConfig) -> int:
    """Number of distances that the residuals add."""
    if config.backbone is None:
        return 0
    count = {"subspace": 1, "reconstruction": len(_coarse_stages(config))}
    return sum(count[name] for name in config.residuals)


def _joined(
    by_source: Sequence[Float[Array, "*b _ _ _"]], config: MemoryBankConfig
) -> Float[Array, "*b gh gw f"]:
    """The coarse stages' features on the grid of the finest, of length 1 together."""
    maps = [by_source[source] for source in _coarse_stages(config)]
    grid = max(x.shape[-3:-1] for x in maps)
    resized = [
        jax.image.resize(
            x, (*x.shape[:-3], *grid, x.shape[-1]), "bilinear", antialias=False
        )
        for x in maps
    ]
    return jnp.concatenate(resized, axis=-1) / (LENGTH * np.sqrt(len(maps)))


def fit_feature_residuals(
    images: Sequence[Sequence[Float[Array, "_ _ _ _"]]],
    config: MemoryBankConfig,
    *,
    is_texture: bool,
    seed: int,
) -> FeatureResiduals | None:
    """Fit what the config needs of both; None where it needs neither.

    Args:
      images: features by source of good images, in groups of one shape.
      seed: of the autoencoder's training.
    """
    needed = config.fitted_residuals(is_texture=is_texture)
    if not needed:
        return None
    joined = [image for group in images for image in np.asarray(_joined(group, config))]
    subspace = autoencoder = None
    if "subspace" in needed:
        rows = [x.reshape(-1, x.shape[-1]) for x in joined]
        moments = Moments.together([Moments.of(x) for x in rows])
        subspace = fit_subspace(moments, VARIANCE)
    if "reconstruction" in needed:
        sizes = tuple(_coarse_stages(config).values())
        autoencoder = fit_feature_autoencoder(
            joined, sizes, config.autoencoder, seed=seed
        )
    return FeatureResiduals(subspace, autoencoder)


def residual_distances(
    fitted: FeatureResiduals,
    by_source: Sequence[Float[Array, "_ _ _"]],
    config: MemoryBankConfig,
) -> dict[Residual, Float[Array, "gh gw _"]]:
    """Length of what is left of a cell's features, of each kind that is fitted.

    As long as the distance of two patches that differ by as much. `reconstruction` has
    a length for each stage.
    """
    features = _joined(by_source, config)
    quarters: dict[Residual, Array] = {}
    if fitted.subspace is not None:
        quarter = quarter_squared_residual(fitted.subspace, features)
        quarters["subspace"] = quarter[..., None]
    if fitted.autoencoder is not None:
        sizes = tuple(_coarse_stages(config).values())
        quarters["reconstruction"] = reconstruction_residuals(
            fitted.autoencoder, features, sizes, config.autoencoder
        )
    # Both are a quarter of the squared length, of vectors of length 1.
    return {name: 2 * LENGTH * jnp.sqrt(x) for name, x in quarters.items()}


def fit_reconstruction_statistics(
    distances: Float16[np.ndarray, "n h w"],
) -> ReconstructionStatistics:
    """The statistics of good images' distances from their reconstruction."""
    wide = distances.astype(np.float64)
    return ReconstructionStatistics(
        jnp.asarray(wide.mean(), jnp.float32),
        jnp.asarray(wide.std() + _LEAST_DEVIATION, jnp.float32),
    )


def reconstruction_log_odds(
    distances: Float[Array, "b h w"],
    statistics: ReconstructionStatistics,
    config: MemoryBankConfig,
) -> Float[Array, "b h w"]:
    """What every cell adds to the log-odds of an anomaly.

    As of the logistic head, half of the mean in the wide surround is subtracted.
    """
    deviations = (distances - statistics.mean) / statistics.deviation
    surround = blur_cells(deviations[..., None], WIDE, repeats_border=True)[..., 0]
    change = config.reconstruction_weight * (deviations - CONTRAST * surround)
    return jnp.clip(change, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
