"""SimVQ (arXiv:2411.02038): a fixed random codebook C times a trained matrix W.

Every gradient changes W and so moves all codes: no code stays unused for lack of one.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped, UInt32

from lfq_jax.quantizers.checks import (
    Codes,
    Indices,
    check_codebook_codes,
    check_indices,
    check_z,
)
from lfq_jax.quantizers.codebook import codebook_statistics, look_up, nearest
from lfq_jax.quantizers.config import SimVQConfig
from lfq_jax.quantizers.protocol import (
    AxisName,
    Quantized,
    Tree,
    mean_over,
    straight_through,
)


@dataclass(frozen=True)
class SimVQ:
    """Codes are uint32 `[...]`, indices into the codebook."""

    config: SimVQConfig

    @property
    def dim(self) -> int:
        """Number of entries of a codebook vector."""
        return self.config.code_dim

    @property
    def code_count(self) -> int:
        """Number of vectors in the codebook."""
        return self.config.codes

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Weight W: the identity. State C: Gaussian vectors of expected length 1."""
        dim = self.config.code_dim
        codebook = jax.random.normal(key, (self.config.codes, dim)) * dim**-0.5
        return {"matrix": jnp.eye(dim)}, {"codebook": codebook}

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
        """Nearest vectors of C W. See `Quantizer.quantize`."""
        del key, step
        check_z(z, dim=self.dim, training=training)
        flat = z.astype(jnp.float32).reshape(-1, self.dim)
        moved = state["codebook"] @ jax.lax.stop_gradient(params["matrix"])
        codes = nearest(jax.lax.stop_gradient(flat), moved)
        chosen = self._vectors(params, state, codes)
        hard = jax.lax.stop_gradient(chosen)
        z_q = straight_through(hard, flat).astype(z.dtype).reshape(z.shape)
        shaped = codes.reshape(z.shape[:-1])
        if not training:
            return Quantized(z_q, shaped, jnp.zeros((), jnp.float32), {}, state)
        to_z = jnp.mean((chosen - jax.lax.stop_gradient(flat)) ** 2)
        to_code = jnp.mean((flat - hard) ** 2)
        config = self.config
        loss = config.codebook_weight * to_z + config.commitment_weight * to_code
        return Quantized(
            z_q=z_q,
            codes=shaped,
            loss=mean_over(loss, axis_name),
            statistics=codebook_statistics(flat, hard, codes, axis_name),
            state=state,
        )

    def codes_to_indices(self, codes: Codes) -> Indices:
        """The codes as uint32, which are indices already, after a check of them."""
        check_codebook_codes(codes, code_count=self.code_count)
        return jnp.asarray(codes).astype("uint32")

    def indices_to_codes(self, indices: Indices) -> UInt32[Array, "*batch"]:
        """The indices as codes, after a check of their range."""
        check_indices(indices, code_count=self.code_count)
        return jnp.asarray(indices).astype("uint32")

    def decode(
        self, params: Tree, state: Tree, codes: Codes
    ) -> Float[Array, "*batch d"]:
        """The codebook vectors of these codes, times W."""
        check_codebook_codes(codes, code_count=self.code_count)
        return self._vectors(params, state, jnp.asarray(codes))

    def _vectors(
        self, params: Tree, state: Tree, codes: UInt32[Array, "*batch"]
    ) -> Float[Array, "*batch d"]:
        return look_up(state["codebook"], codes) @ params["matrix"]
