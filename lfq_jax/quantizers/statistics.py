"""Statistics of codes that a training logs: float32 scalars without gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lfq_jax.quantizers.bits import bits_to_words, signs
from lfq_jax.quantizers.protocol import AxisName, mean_over


def non_finite(z: Float[Array, "*shape"], axis_name: AxisName | None) -> Array:
    """Number of entries of z that are NaN or infinite; above 0 the encoder diverged."""
    count = jnp.sum(~jnp.isfinite(z), dtype=jnp.float32)
    return count if axis_name is None else jax.lax.psum(count, axis_name)


def quantisation_error(
    z: Float[Array, "*shape"], z_q: Float[Array, "*shape"], axis_name: AxisName | None
) -> Array:
    """Mean squared distance between an entry of z and its quantised value."""
    error = jnp.mean((z.astype(jnp.float32) - z_q.astype(jnp.float32)) ** 2)
    return jax.lax.stop_gradient(mean_over(error, axis_name))


def code_use(words: list[Array], axis_name: AxisName | None) -> dict[str, Array]:
    """How many codes a batch uses, and how evenly.

    Sorts the samples' codes instead of counting every possible code, so memory grows
    with the number of samples and not with the number of codes.

    Args:
        words: the codes as unsigned integers, one array `[n]` per 32-bit word.
        axis_name: mapped axis over which the samples are split.

    Returns:
        `used_codes`: number of different codes. `perplexity`: exp of the entropy of
        their frequencies, between 1 and `used_codes`.
    """
    if axis_name is not None:
        words = [jax.lax.all_gather(w, axis_name, tiled=True) for w in words]
    ordered = jax.lax.sort(words, num_keys=len(words))
    samples = len(ordered[0])
    changed = jnp.stack([w[1:] != w[:-1] for w in ordered]).any(axis=0)
    first = jnp.concatenate([jnp.ones(1, bool), changed])
    group = jnp.cumsum(first) - 1
    counts = jnp.zeros(samples, jnp.float32).at[group].add(1.0)
    share = counts / samples
    entropy = -jnp.sum(share * jnp.log(jnp.where(counts > 0, share, 1.0)))
    use = {
        "perplexity": jnp.exp(entropy),
        "used_codes": jnp.sum(first, dtype=jnp.float32),
    }
    # Equal on every device already. The mean makes shard_map's type check know it.
    return {name: mean_over(value, axis_name) for name, value in use.items()}


def bit_moments(
    codes: Bool[Array, "n k"], axis_name: AxisName | None
) -> tuple[Float[Array, "k"], Float[Array, "k k"]]:
    """Mean sign of each bit, and the correlation of each pair of bits.

    A bit that never changes has correlation 0 with every bit, itself included.
    """
    values = signs(codes).astype(jnp.float32)
    mean = mean_over(jnp.mean(values, axis=0), axis_name)
    second = mean_over(values.T @ values / len(values), axis_name)
    covariance = second - jnp.outer(mean, mean)
    variance = jnp.diagonal(covariance)
    # The variance of signs is 0 or at least about 4 / n. Smaller values are rounding.
    alive = variance > 1e-6
    scale = jnp.where(alive, 1.0, 0.0) / jnp.sqrt(jnp.where(alive, variance, 1.0))
    return mean, covariance * scale[:, None] * scale[None, :]


def bit_statistics(
    codes: Bool[Array, "n k"], axis_name: AxisName | None
) -> dict[str, Array]:
    """Use of the codes and of the single bits.

    Returns:
        `perplexity` and `used_codes`: see `code_use`.
        `dead_bits`: number of bits with one value in the whole batch.
        `bit_imbalance`: |mean sign|, averaged over the bits; 0 if every bit is set half
        of the time.
        `bit_correlation`: largest absolute correlation of two bits.
    """
    use = code_use(bits_to_words(codes), axis_name)
    mean, correlation = bit_moments(codes, axis_name)
    between = correlation * (1.0 - jnp.eye(len(mean), dtype=correlation.dtype))
    return use | {
        "dead_bits": jnp.sum(jnp.abs(mean) > 1.0 - 1e-6, dtype=jnp.float32),
        "bit_imbalance": jnp.mean(jnp.abs(mean)),
        "bit_correlation": jnp.max(jnp.abs(between)),
    }
