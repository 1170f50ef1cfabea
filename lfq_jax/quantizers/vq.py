"""Vector quantization, with a moving-average codebook (arXiv:1711.00937, A.1)."""

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
from lfq_jax.quantizers.config import VQConfig
from lfq_jax.quantizers.protocol import (
    AxisName,
    Quantized,
    Tree,
    mean_over,
    straight_through,
)


@dataclass(frozen=True)
class VQ:
    """Codes are uint32 `[...]`: indices into the codebook, which is state."""

    config: VQConfig

    @property
    def dim(self) -> int:
        """Number of entries of a codebook vector."""
        return self.config.code_dim

    @property
    def code_count(self) -> int:
        """Number of vectors in the codebook."""
        return self.config.codes

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """No weights. The state is a random codebook with use counts of 0.

        With revival, every code is dead at first, so the first batches fill the
        codebook.
        """
        shape = (self.config.codes, self.config.code_dim)
        state = {
            "codebook": jax.random.normal(key, shape),
            "count": jnp.zeros(shape[0]),
            "total": jnp.zeros(shape),
        }
        return {}, state

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
        """Nearest codebook vectors, and the codebook updated for the next call.

        Raises:
            ValueError: as `Quantizer.quantize`, and if `revive_below` is set and a
                training call has no key.
        """
        del params, step
        check_z(z, dim=self.dim, training=training)
        flat = z.astype(jnp.float32).reshape(-1, self.dim)
        codes = nearest(jax.lax.stop_gradient(flat), state["codebook"])
        hard = look_up(state["codebook"], codes)
        z_q = straight_through(hard, flat).astype(z.dtype).reshape(z.shape)
        shaped = codes.reshape(z.shape[:-1])
        if not training:
            return Quantized(z_q, shaped, jnp.zeros((), jnp.float32), {}, state)
        commitment = mean_over(jnp.mean((flat - hard) ** 2), axis_name)
        statistics = codebook_statistics(flat, hard, codes, axis_name)
        new = self._updated(state, jax.lax.stop_gradient(flat), codes, axis_name)
        if self.config.revive_below:
            pool = jax.lax.stop_gradient(flat)
            new, revived = self._revived(new, pool, key, axis_name)
            statistics["revived_codes"] = revived
        loss = self.config.commitment_weight * commitment
        return Quantized(z_q, shaped, loss, statistics, new)

    def _updated(
        self,
        state: Tree,
        z: Float[Array, "n d"],
        codes: UInt32[Array, "n"],
        axis_name: AxisName | None,
    ) -> Tree:
        """The codebook after one update of its moving averages (eqs. 6 to 8)."""
        count = jnp.zeros_like(state["count"]).at[codes].add(1.0)
        total = jnp.zeros_like(state["total"]).at[codes].add(z)
        if axis_name is not None:
            count, total = jax.lax.psum((count, total), axis_name)
        keep = self.config.momentum
        count = keep * state["count"] + (1.0 - keep) * count
        total = keep * state["total"] + (1.0 - keep) * total
        used = count > jnp.finfo(jnp.float32).tiny
        mean = total / jnp.where(used, count, 1.0)[:, None]
        codebook = jnp.where(used[:, None], mean, state["codebook"])
        return {"codebook": codebook, "count": count, "total": total}

    def _revived(
        self,
        state: Tree,
        z: Float[Array, "n d"],
        key: PRNGKeyArray | None,
        axis_name: AxisName | None,
    ) -> tuple[Tree, Array]:
        """The state with each dead code replaced by a different z of the batch.

        A revived code counts as used once, by that z. One step revives at most as many
        codes as the batch has vectors z, so no two codes become equal.
        """
        if key is None:
            raise ValueError("key must be given in training to revive codes, got None")
        if axis_name is not None:
            gathered = jax.lax.all_gather(z, axis_name, tiled=True)
            z = mean_over(gathered, axis_name)  # equal on every device: see `code_use`
        z = jax.random.permutation(key, z)
        dead = state["count"] < self.config.revive_below
        turn = jnp.cumsum(dead) - 1
        revived = dead & (turn < len(z))
        fresh = z[jnp.clip(turn, 0, len(z) - 1)]
        once = 1.0 - self.config.momentum
        new = {
            "codebook": jnp.where(revived[:, None], fresh, state["codebook"]),
            "count": jnp.where(revived, once, state["count"]),
            "total": jnp.where(revived[:, None], once * fresh, state["total"]),
        }
        return new, jnp.sum(revived, dtype=jnp.float32)

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
        del params
        check_codebook_codes(codes, code_count=self.code_count)
        return look_up(state["codebook"], jnp.asarray(codes))
