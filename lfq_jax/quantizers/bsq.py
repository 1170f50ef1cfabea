"""Binary spherical quantization (arXiv:2406.07548), with exact entropies.

BSQ projects z to the unit sphere, u = z / |z|, and takes the corner sign(u) / sqrt(k).
This equals LFQ of z scaled to length sqrt(k), with the result divided by sqrt(k). The
authors add the entropies of groups of bits, an upper bound of the batch entropy.
LFQ's factorisation gives the batch entropy exactly.
"""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from lfq_jax.quantizers.checks import Codes, Indices, check_z
from lfq_jax.quantizers.config import BSQConfig
from lfq_jax.quantizers.lfq import LFQ
from lfq_jax.quantizers.protocol import AxisName, Quantized, Tree


@dataclass(frozen=True)
class BSQ:
    """Codes are LFQ's; z_q is in {-1, +1} / sqrt(bits), of length 1."""

    config: BSQConfig

    @functools.cached_property
    def _lfq(self) -> LFQ:
        return LFQ(self.config.lfq)

    def __post_init__(self) -> None:
        self._lfq  # noqa: B018 - refuses a distribution that does not fit in memory

    @property
    def dim(self) -> int:
        """Number of bits; z has one entry for each."""
        return self.config.bits

    @property
    def code_count(self) -> int:
        """2^bits."""
        return 1 << self.config.bits

    @property
    def _scale(self) -> float:
        return self.config.bits**-0.5

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Returns no weights and no state."""
        return self._lfq.init(key)

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
        """Nearest corner of z's direction. See `Quantizer.quantize`."""
        check_z(z, dim=self.dim, training=training)
        quantized = self._lfq.quantize(
            params,
            state,
            z.astype(jnp.float32),
            training=training,
            axis_name=axis_name,
            key=key,
            step=step,
        )
        statistics = dict(quantized.statistics)
        if training:
            statistics["quantisation_error"] *= self._scale**2
        z_q = (quantized.z_q * self._scale).astype(z.dtype)
        return quantized._replace(z_q=z_q, statistics=statistics)

    def codes_to_indices(self, codes: Codes) -> Indices:
        """uint32, or uint64 beyond 32 bits; see `bits_to_indices`."""
        return self._lfq.codes_to_indices(codes)

    def indices_to_codes(self, indices: Indices) -> Bool[Array, "*batch k"]:
        """See `indices_to_bits`."""
        return self._lfq.indices_to_codes(indices)

    def decode(
        self, params: Tree, state: Tree, codes: Codes
    ) -> Float[Array, "*batch k"]:
        """The corners with these signs."""
        return self._lfq.decode(params, state, codes) * self._scale
