"""Residual LFQ: each stage quantises the residual of the previous stages.

Residual quantization comes from SoundStream (arXiv:2107.03312, algorithm 1). Stage i is
an LFQ with the code values {-2^-i, +2^-i}.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from lfq_jax.quantizers.bits import bits_to_indices, indices_to_bits, signs
from lfq_jax.quantizers.checks import Codes, Indices, check_bit_codes, check_z
from lfq_jax.quantizers.config import ResidualLFQConfig
from lfq_jax.quantizers.lfq import LFQ
from lfq_jax.quantizers.protocol import (
    AxisName,
    Quantized,
    Tree,
    straight_through,
)
from lfq_jax.quantizers.statistics import (
    bit_statistics,
    non_finite,
    quantisation_error,
)


@dataclass(frozen=True)
class ResidualLFQ:
    """Codes are bool `[..., stages, bits]`; the first stage is most significant."""

    config: ResidualLFQConfig

    @functools.cached_property
    def _stage(self) -> LFQ:
        return LFQ(self.config.stage)

    def __post_init__(self) -> None:
        self._stage  # noqa: B018 - refuses a distribution that does not fit in memory

    @property
    def dim(self) -> int:
        """Number of bits of a stage; z has one entry for each."""
        return self.config.bits

    @property
    def code_count(self) -> int:
        """2^(bits stages)."""
        return 1 << (self.config.bits * self.config.stages)

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Returns no weights and no state."""
        return self._stage.init(key)

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
        """Signs of z and of its residuals. See `Quantizer.quantize`."""
        check_z(z, dim=self.dim, training=training)
        inner = z.astype(jnp.float32)
        residual, hard = inner, jnp.zeros_like(inner)
        stages: list[Quantized] = []
        for scale in self._scales():
            stage = self._stage.quantize(
                params,
                (),
                residual / scale,
                training=training,
                axis_name=axis_name,
                key=key,
                step=step,
            )
            value = scale * signs(stage.codes)
            residual, hard = residual - value, hard + value
            stages.append(stage)
        codes = jnp.stack([stage.codes for stage in stages], axis=-2)
        z_q = straight_through(hard, inner).astype(z.dtype)
        if not training:
            return Quantized(z_q, codes, jnp.zeros((), jnp.float32), {}, state)
        count = len(stages)
        means = {
            name: sum((s.statistics[name] for s in stages), jnp.zeros(())) / count
            for name in stages[0].statistics
            if name.endswith("entropy") or name == "entropy_ceiling"
        }
        flat = codes.reshape(-1, self.config.bits * count)
        statistics = {
            **means,
            **bit_statistics(flat, axis_name),
            "quantisation_error": quantisation_error(inner, hard, axis_name),
            "non_finite": non_finite(z, axis_name),
        }
        loss = sum((stage.loss for stage in stages), jnp.zeros(())) / count
        return Quantized(z_q, codes, loss, jax.lax.stop_gradient(statistics), state)

    def _scales(self) -> list[float]:
        return [2.0**-stage for stage in range(self.config.stages)]

    def codes_to_indices(self, codes: Codes) -> Indices:
        """The bits of all stages as one integer; see `bits_to_indices`."""
        stages, bits = self.config.stages, self.config.bits
        check_bit_codes(codes, axes=(stages, bits))
        return bits_to_indices(codes.reshape(*codes.shape[:-2], stages * bits))

    def indices_to_codes(self, indices: Indices) -> Bool[Array, "*batch s k"]:
        """See `indices_to_bits`."""
        stages, bits = self.config.stages, self.config.bits
        flat = indices_to_bits(indices, bits=stages * bits)
        return flat.reshape(*flat.shape[:-1], stages, bits)

    def decode(
        self, params: Tree, state: Tree, codes: Codes
    ) -> Float[Array, "*batch k"]:
        """Sum of the stages' signs, each times its stage's scale."""
        del params, state
        check_bit_codes(codes, axes=(self.config.stages, self.config.bits))
        scales = jnp.asarray(self._scales(), jnp.float32)
        return jnp.sum(signs(jnp.asarray(codes)) * scales[:, None], axis=-2)
