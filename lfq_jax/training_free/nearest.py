"""Cosine distance of every cell from the nearest patch of the shots.

AnomalyDINO (Damm et al., "AnomalyDINO: Boosting Patch-Based Few-Shot Anomaly Detection
with DINOv2", WACV 2025) and PatchCore (Roth et al., "Towards Total Recall in Industrial
Anomaly Detection", CVPR 2022).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.config import KnnConfig, ReconstructionConfig
from lfq_jax.memory_bank.subsampling import coreset, sample
from lfq_jax.ops.precision import exact_products

_CPU_PATCHES = 512
"""Patches that a CPU compares with all cells of an image at once. The products of 1,024
cells then fit in its cache."""


def fit_patches(
    by_rotation: Sequence[Float[Array, "_ f"]], config: KnnConfig, *, seed: int
) -> Float[Array, "n f"]:
    """The patches that the bank keeps, of all those of the shots.

    Args:
      by_rotation: unit-length features of every rotation of every shot.
      seed: of the random choice and of the coreset's search.
    """
    patches = jnp.concatenate(by_rotation)
    if config.patches:
        patches = sample(patches, config.patches, seed=seed)
    return coreset(patches, config.coreset, seed)


@exact_products
def half_cosine_distance(
    query: Float[Array, "h w f"], patches: Float[Array, "n f"]
) -> Float[Array, "h w"]:
    """Half the cosine distance of every cell from its nearest patch, in [0, 1].

    Args:
      query, patches: vectors of length 1.
    """

    def all_at_once(query: Float[Array, "p f"], patches: Array) -> Float[Array, "p"]:
        return (query @ patches.T).max(-1)

    def block_by_block(query: Float[Array, "p f"], patches: Array) -> Float[Array, "p"]:
        # The last patch is repeated, which changes no maximum.
        missing = -len(patches) % _CPU_PATCHES
        padded = jnp.pad(patches, ((0, missing), (0, 0)), mode="edge")
        blocks = padded.reshape(-1, _CPU_PATCHES, patches.shape[-1])
        return jax.lax.map(lambda block: all_at_once(query, block), blocks).max(0)

    largest = jax.lax.platform_dependent(
        query.reshape(-1, query.shape[-1]),
        patches,
        cpu=block_by_block if len(patches) > _CPU_PATCHES else all_at_once,
        default=all_at_once,
    )
    return jnp.clip((1.0 - largest) / 2, 0.0, 1.0).reshape(query.shape[:2])


def even_turns_deg(config: KnnConfig | ReconstructionConfig) -> list[float]:
    """Angles of the rotations, from 0 on."""
    return np.linspace(0, 360, config.rotations, endpoint=False).tolist()
