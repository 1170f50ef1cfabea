"""A codebook in memory: search, lookup, and what its users log."""

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
    """Index of the vector closest to each z; of equally close ones the first."""
    half_square = 0.5 * jnp.sum(codebook**2, axis=-1)
    index = jnp.arange(len(codebook), dtype="uint32")

    def of_one(z: Float[Array, "d"]) -> Array:
        # |z|^2 is the same for all codes, so it is left out
        product = jnp.matmul(codebook, z, precision=jax.lax.Precision.HIGHEST)
        closeness = product - half_square
        # twice as fast as argmax, which XLA does not vectorise on the CPU
        closest = closeness == jnp.max(closeness)
        return jnp.min(jnp.where(closest, index, index[-1]))

    rows = max(1, _BLOCK // len(codebook))
    if len(z) <= rows:
        return jax.vmap(of_one)(z)
    return jax.lax.map(of_one, z, batch_size=rows)


def look_up(
    codebook: Float[Array, "codes d"], codes: UInt32[Array, "*batch"]
) -> Float[Array, "*batch d"]:
    """The vectors of these codes. One out of range gives NaN, not a wrong vector."""
    return jnp.take(codebook, codes, axis=0, mode="fill", fill_value=jnp.nan)


def codebook_statistics(
    z: Float[Array, "n d"],
    hard: Float[Array, "n d"],
    codes: UInt32[Array, "n"],
    axis_name: AxisName | None,
) -> dict[str, Array]:
    """`perplexity`, `used_codes`, `quantisation_error` and `non_finite`."""
    statistics = {
        **code_use([codes], axis_name),
        "quantisation_error": quantisation_error(z, hard, axis_name),
        "non_finite": non_finite(z, axis_name),
    }
    return jax.lax.stop_gradient(statistics)
