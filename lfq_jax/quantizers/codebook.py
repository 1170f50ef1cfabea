"""Codebooks held in memory: nearest-vector search, lookup and logged statistics."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from lfq_jax.quantizers.protocol import AxisName
from lfq_jax.quantizers.statistics import code_use, non_finite, quantisation_error

_BLOCK = 1 << 24
"""Distances in memory at once: 64 MiB."""


def nearest(
    z: Float[Array, "n d"], codebook: Float[Array, "codes d"]
) -> UInt32[Array, "n"]:
    """Index of the codebook vector nearest to each z; of equal distances the first."""
    half_square = 0.5 * jnp.sum(codebook**2, axis=-1)
    index = jnp.arange(len(codebook), dtype="uint32")

    def nearest_to(z: Float[Array, "d"]) -> Array:
        # |z|^2 is equal for all codes, so it is omitted
        product = jnp.matmul(codebook, z, precision=jax.lax.Precision.HIGHEST)
        closeness = product - half_square
        # twice as fast as argmax, which XLA does not vectorise on a CPU
        closest = closeness == jnp.max(closeness)
        return jnp.min(jnp.where(closest, index, index[-1]))

    rows = max(1, _BLOCK // len(codebook))
    if len(z) <= rows:
        return jax.vmap(nearest_to)(z)
    return jax.lax.map(nearest_to, z, batch_size=rows)


def look_up(
    codebook: Float[Array, "codes d"], codes: UInt32[Array, "*batch"]
) -> Float[Array, "*batch d"]:
    """The vectors of these codes. A code out of range gives NaN."""
    return jnp.take(codebook, codes, axis=0, mode="fill", fill_value=jnp.nan)


def codebook_statistics(
    z: Float[Array, "n d"],
    hard: Float[Array, "n d"],
    codes: UInt32[Array, "n"],
    axis_name: AxisName | None,
) -> dict[str, Array]:
    """Statistics `perplexity`, `used_codes`, `quantisation_error`, `non_finite`."""
    statistics = {
        **code_use([codes], axis_name),
        "quantisation_error": quantisation_error(z, hard, axis_name),
        "non_finite": non_finite(z, axis_name),
    }
    return jax.lax.stop_gradient(statistics)
