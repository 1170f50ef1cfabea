"""Lookup-free quantization with exact entropies (paper 2.2; arXiv:2310.05737)."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from lfq_jax.quantizers.bits import (
    bits_to_indices,
    indices_to_bits,
    sign_bits,
    signs,
)
from lfq_jax.quantizers.capacity import check_distribution_fits
from lfq_jax.quantizers.checks import Codes, Indices, check_bit_codes, check_z
from lfq_jax.quantizers.config import LFQConfig, Normalisation
from lfq_jax.quantizers.entropy import (
    distribution_entropy,
    mean_distribution,
    sample_entropy,
)
from lfq_jax.quantizers.protocol import (
    AxisName,
    Quantized,
    Tree,
    device_count,
    mean_over,
    straight_through,
)
from lfq_jax.quantizers.schedule import linear_factor
from lfq_jax.quantizers.statistics import (
    bit_statistics,
    non_finite,
    quantisation_error,
)


@dataclass(frozen=True)
class LFQ:
    """Replaces each entry of z by its sign; the signs of a position are its code.

    Codes are bool `[..., bits]`, true for +1; 0 and -0.0 become +1. z_q is in
    {-1, +1}. The first bit is the most significant bit of an index.
    """

    config: LFQConfig

    def __post_init__(self) -> None:
        if self.config.uses_batch_entropy:
            check_distribution_fits(self.config.bits)

    @property
    def dim(self) -> int:
        """Number of bits; z has one entry for each."""
        return self.config.bits

    @property
    def code_count(self) -> int:
        """2^bits."""
        return 1 << self.config.bits

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """No weights. The state is the running batch distribution, if enabled."""
        del key
        config = self.config
        if not (config.running_momentum and config.uses_batch_entropy):
            return {}, ()
        empty = jnp.zeros(self.code_count, jnp.float32)
        return {}, {"distribution": empty, "weight": jnp.zeros((), jnp.float32)}

    def quantize(
        self,
        params: Tree,
        state: Tree,
        z: Shaped[Array, "*batch d"],
        *,
        training: bool,
        axis_name: AxisName | None = None,
        key: PRNGKeyArray | None = None,
        step: Array | int | None = None,
    ) -> Quantized:
        """Signs of z; in training also the regularisers. See `Quantizer.quantize`."""
        del params, key
        check_z(z, dim=self.dim, training=training)
        inner = normalised(z.astype(jnp.float32), self.config.normalisation)
        codes = sign_bits(inner)
        z_q = straight_through(signs(codes), inner).astype(z.dtype)
        if not training:
            return Quantized(z_q, codes, jnp.zeros((), jnp.float32), {}, state)
        flat, flat_codes = inner.reshape(-1, self.dim), codes.reshape(-1, self.dim)
        loss, entropies, state = self._loss(state, flat, flat_codes, axis_name, step)
        statistics = {
            **entropies,
            **bit_statistics(flat_codes, axis_name),
            "quantisation_error": quantisation_error(
                flat, signs(flat_codes), axis_name
            ),
            "non_finite": non_finite(z, axis_name),
        }
        return Quantized(z_q, codes, loss, jax.lax.stop_gradient(statistics), state)

    def _loss(
        self,
        state: Tree,
        z: Float[Array, "n k"],
        codes: Bool[Array, "n k"],
        axis_name: AxisName | None,
        step: Array | int | None,
    ) -> tuple[Array, dict[str, Array], Tree]:
        """Loss: weight (H_sample - gamma H_batch) + commitment |z - sg(z_q)|^2."""
        config = self.config
        weight, temperature = self._annealed(step)
        log_odds = 4.0 * z / temperature
        of_sample = mean_over(sample_entropy(log_odds), axis_name)
        commitment = mean_over(jnp.mean((z - signs(codes)) ** 2), axis_name)
        loss = config.commitment_weight * commitment + weight * of_sample
        samples = len(z) * device_count(axis_name)
        ceiling = jnp.minimum(config.bits * math.log(2), math.log(samples) + of_sample)
        statistics = {"sample_entropy": of_sample, "entropy_ceiling": ceiling}
        if config.uses_batch_entropy:
            batch = mean_distribution(log_odds, axis_name=axis_name)
            batch, state = running_distribution(batch, state, config.running_momentum)
            of_batch = distribution_entropy(batch)
            loss = loss - weight * config.gamma * of_batch
            statistics["batch_entropy"] = of_batch
        return loss, statistics, jax.lax.stop_gradient(state)

    def _annealed(self, step: Array | int | None) -> tuple[Array, Array]:
        """Entropy weight and temperature at `step`."""
        config = self.config
        steps = config.anneal_steps
        weight = linear_factor(config.anneal_entropy_weight, steps=steps, step=step)
        temperature = linear_factor(config.anneal_temperature, steps=steps, step=step)
        return config.entropy_weight * weight, config.temperature * temperature

    def codes_to_indices(self, codes: Codes) -> Indices:
        """uint32, or uint64 beyond 32 bits; see `bits_to_indices`."""
        check_bit_codes(codes, axes=(self.dim,))
        return bits_to_indices(codes)

    def indices_to_codes(self, indices: Indices) -> Bool[Array, "*batch k"]:
        """See `indices_to_bits`."""
        return indices_to_bits(indices, bits=self.config.bits)

    def decode(
        self, params: Tree, state: Tree, codes: Codes
    ) -> Float[Array, "*batch k"]:
        """The signs, -1 or +1, of the codes' bits."""
        del params, state
        check_bit_codes(codes, axes=(self.dim,))
        return signs(jnp.asarray(codes))


def normalised(
    z: Float[Array, "*batch k"], normalisation: Normalisation
) -> Float[Array, "*batch k"]:
    """z normalised over its last axis; see `LFQConfig.normalisation`."""
    if normalisation == "layer":
        z = z - jnp.mean(z, axis=-1, keepdims=True)
        return z * jax.lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-6)
    if normalisation == "l2":
        return z * jax.lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-12)
    return z


def running_distribution(
    batch: Float[Array, "codes"], state: Tree, momentum: float
) -> tuple[Float[Array, "codes"], Tree]:
    """The batch's distribution averaged with the distributions of earlier steps.

    H(E[p]) of one batch cannot exceed ln(samples) + H_sample; H of the running mean
    can. The value is the running mean. The gradient is the batch's, undiminished: the
    factor (1 - momentum) of a plain average would make the regulariser fade.

    Args:
        batch: this batch's E[p].
        state: `distribution` and `weight`, the sums of past E[p] and of their weights;
            () if the running mean is off.
        momentum: the share of the past that each step keeps, in [0, 1).
    """
    if not momentum or isinstance(state, tuple):
        return batch, state
    new = 1.0 - momentum
    total = momentum * state["distribution"] + new * jax.lax.stop_gradient(batch)
    weight = momentum * state["weight"] + new
    return (
        straight_through(total / weight, batch),
        {"distribution": total, "weight": weight},
    )
