"""The identity: a continuous bottleneck, the baseline of the other quantizers."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from lfq_jax.quantizers.checks import Codes, Indices, check_z
from lfq_jax.quantizers.config import NoneConfig
from lfq_jax.quantizers.protocol import AxisName, Quantized, Tree
from lfq_jax.quantizers.statistics import non_finite


@dataclass(frozen=True)
class NoQuantizer:
    """The identity. Its codes are empty: shape `[..., 0]`."""

    config: NoneConfig
    dim: int
    code_count: int = 0

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Returns no weights and no state."""
        del key
        return {}, ()

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
        """z unchanged."""
        del params, key, step
        check_z(z, dim=self.dim, training=training)
        statistics = {"non_finite": non_finite(z, axis_name)} if training else {}
        return Quantized(
            z_q=z,
            codes=jnp.zeros((*z.shape[:-1], 0), bool),
            loss=jnp.zeros((), jnp.float32),
            statistics=statistics,
            state=state,
        )

    def codes_to_indices(self, codes: Codes) -> Indices:
        """Refused: there are no codes."""
        raise ValueError("the quantizer none has no codes, so no indices")

    def indices_to_codes(self, indices: Indices) -> Array:
        """Refused: there are no codes."""
        raise ValueError("the quantizer none has no codes, so no indices")

    def decode(self, params: Tree, state: Tree, codes: Codes) -> Array:
        """Refused: there are no codes."""
        raise ValueError("the quantizer none has no codes to decode")
