"""Codes sampled by a softmax over a codebook (arXiv:1611.01144; arXiv:2102.12092)."""

import math
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
from lfq_jax.quantizers.codebook import codebook_statistics, look_up
from lfq_jax.quantizers.config import GumbelVQConfig
from lfq_jax.quantizers.protocol import (
    AxisName,
    Quantized,
    Tree,
    mean_over,
    straight_through,
)
from lfq_jax.quantizers.schedule import linear_factor


@dataclass(frozen=True)
class GumbelVQ:
    """Codes are uint32 `[...]`: sampled in training, the most probable in scoring.

    The gradient is that of the softmax, not the identity. z_q is in another space than
    z, so quantising z_q again does not return z_q.
    """

    config: GumbelVQConfig

    @property
    def dim(self) -> int:
        """Number of entries of a codebook vector, and of z."""
        return self.config.code_dim

    @property
    def code_count(self) -> int:
        """Number of vectors in the codebook."""
        return self.config.codes

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Weights: `logits` maps z to a logit per code; `codebook` has the vectors."""
        logits_key, codebook_key = jax.random.split(key)
        dim, codes = self.config.code_dim, self.config.codes
        params = {
            "logits": jax.random.normal(logits_key, (dim, codes)) * dim**-0.5,
            "codebook": jax.random.normal(codebook_key, (codes, dim)),
        }
        return params, ()

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
        """A sampled code in training, the most probable code in scoring.

        Raises:
            ValueError: as `Quantizer.quantize`, and if a training call has no key.
        """
        check_z(z, dim=self.dim, training=training)
        flat = z.astype(jnp.float32).reshape(-1, self.dim)
        logits = flat @ params["logits"]
        noisy = (
            logits + self._noise(logits.shape, key, axis_name) if training else logits
        )
        codes = jnp.argmax(noisy, axis=-1).astype("uint32")
        hard = look_up(params["codebook"], codes)
        temperature = self.config.temperature * linear_factor(
            self.config.anneal_temperature, steps=self.config.anneal_steps, step=step
        )
        soft = jax.nn.softmax(noisy / temperature) @ jax.lax.stop_gradient(
            params["codebook"]
        )
        z_q = straight_through(hard, soft).astype(z.dtype).reshape(z.shape)
        shaped = codes.reshape(z.shape[:-1])
        if not training:
            return Quantized(z_q, shaped, jnp.zeros((), jnp.float32), {}, state)
        divergence = mean_over(self._divergence(logits), axis_name)
        return Quantized(
            z_q=z_q,
            codes=shaped,
            loss=self.config.kl_weight * divergence,
            statistics=codebook_statistics(flat, hard, codes, axis_name),
            state=state,
        )

    def _noise(
        self,
        shape: tuple[int, ...],
        key: PRNGKeyArray | None,
        axis_name: AxisName | None,
    ) -> Array:
        if key is None:
            raise ValueError("key must be given in training to sample codes, got None")
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        return jax.random.gumbel(key, shape)

    def _divergence(self, logits: Float[Array, "n codes"]) -> Float[Array, ""]:
        """KL divergence from the uniform distribution, averaged over positions."""
        log_p = jax.nn.log_softmax(logits)
        negative_entropy = jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
        return jnp.mean(negative_entropy) + math.log(self.config.codes)

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
        """The codebook vectors of these codes."""
        del state
        check_codebook_codes(codes, code_count=self.code_count)
        return look_up(params["codebook"], jnp.asarray(codes))
