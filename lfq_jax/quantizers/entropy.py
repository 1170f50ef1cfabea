"""Exact entropies of sign-bit codes, without an array of samples x codes.

If p(c|z) ~ exp(2 z.c / tau) over c in {-1, +1}^k, the bits of one sample are
independent, with log-odds 4 z_i / tau. Two exact consequences follow:

- The entropy of one sample is a sum of k binary entropies.
- The distribution of a sample is an outer product of A, the distribution of its upper
  bits, and B, that of its lower bits. So the mean over n samples is one matrix
  product, E[p] = A^T B / n. It needs n 2^(k/2) + 2^k entries instead of n 2^k.

Entropies are in nats and in float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.quantizers.protocol import AxisName, mean_over

_SATURATION = 128.0
"""Log-odds beyond which a bit's probability is 0 or 1 in float32, and its entropy 0."""
_BLOCK = 1 << 22
"""Most entries of the upper bits' distribution that are computed in one block."""


@jax.custom_jvp
def binary_entropy(log_odds: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Entropy of a bit that is set with probability sigmoid(log_odds)."""
    size = jnp.abs(log_odds)
    return jax.nn.softplus(-size) + size * jax.nn.sigmoid(-size)


@binary_entropy.defjvp
def _binary_entropy_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (t,), (dt,) = primals, tangents
    # Autodiff of binary_entropy would cancel two equal terms and leave their rounding.
    slope = -t * jax.nn.sigmoid(t) * jax.nn.sigmoid(-t)
    return binary_entropy(t), slope * dt


def saturate(log_odds: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log-odds clipped to the range that float32 distinguishes, without overflow."""
    return jnp.clip(log_odds.astype(jnp.float32), -_SATURATION, _SATURATION)


def sample_entropy(log_odds: Float[Array, "n k"]) -> Float[Array, ""]:
    """Mean entropy of a sample's code distribution: E[H(p)]."""
    return jnp.mean(jnp.sum(binary_entropy(saturate(log_odds)), axis=-1))


def _half_distribution(log_odds: Float[Array, "n k"]) -> Float[Array, "n codes"]:
    """Probability of each of the 2^k codes of each sample; first bit most significant.

    A product of sigmoids, computed as the exponential of a sum of log-sigmoids. All of
    them are negative, so nothing cancels, and one matrix product computes all sums.
    """
    bits = log_odds.shape[1]
    index = np.arange(1 << bits)
    is_set = (index >> np.arange(bits)[::-1, None]) & 1
    chosen = np.concatenate([is_set, 1 - is_set]).astype(np.float32)
    log_p = jax.nn.log_sigmoid(jnp.concatenate([log_odds, -log_odds], axis=1))
    return jnp.exp(jnp.matmul(log_p, chosen, precision=jax.lax.Precision.HIGHEST))


def _summed(
    log_odds: Float[Array, "n k"], valid: Float[Array, "n"]
) -> Float[Array, "upper lower"]:
    """Sum of the valid samples' distributions over all codes."""
    upper_bits = (log_odds.shape[1] + 1) // 2
    upper = _half_distribution(log_odds[:, :upper_bits]) * valid[:, None]
    lower = _half_distribution(log_odds[:, upper_bits:])
    return jnp.matmul(upper.T, lower, precision=jax.lax.Precision.HIGHEST)


def mean_distribution(
    log_odds: Float[Array, "n k"], *, axis_name: AxisName | None = None
) -> Float[Array, "codes"]:
    """E[p]: probability of each of the 2^k codes, averaged over the samples.

    Args:
        log_odds: log(p / (1 - p)) of each bit being set.
        axis_name: mapped axis over which the samples are split. The mean is then
            taken over the samples of all devices, before any entropy.

    Returns:
        2^k probabilities, ordered by index (first bit most significant).
    """
    log_odds = saturate(log_odds)
    samples, bits = log_odds.shape
    rows = max(1, _BLOCK >> ((bits + 1) // 2))
    if samples <= rows:
        total = _summed(log_odds, jnp.ones(samples, log_odds.dtype))
    else:
        total = _summed_in_blocks(log_odds, rows=rows)
    return mean_over(total.reshape(-1) / samples, axis_name)


def _summed_in_blocks(
    log_odds: Float[Array, "n k"], *, rows: int
) -> Float[Array, "upper lower"]:
    """As `_summed`, with at most `rows` samples in memory, also for the gradient."""
    samples, bits = log_odds.shape
    blocks = -(-samples // rows)
    padding = blocks * rows - samples
    padded = jnp.pad(log_odds, ((0, padding), (0, 0)))
    valid = jnp.arange(blocks * rows) < samples
    block_summed = jax.checkpoint(_summed)

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        return total + block_summed(*block), None

    # Zeros derived from the input, so that the carry's type also fits in shard_map.
    start = jnp.zeros((1 << ((bits + 1) // 2), 1 << (bits // 2))) + 0 * padded[0, 0]
    shaped = (
        padded.reshape(blocks, rows, bits),
        valid.astype(log_odds.dtype).reshape(blocks, rows),
    )
    return jax.lax.scan(add, start, shaped)[0]


def distribution_entropy(p: Float[Array, "*shape"]) -> Float[Array, ""]:
    """H(p) in nats. Codes of probability 0 add nothing to the value or gradient."""
    possible = p >= jnp.finfo(p.dtype).tiny
    return -jnp.sum(jnp.where(possible, p * jnp.log(jnp.where(possible, p, 1.0)), 0.0))
