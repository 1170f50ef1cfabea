"""Finite scalar quantization (arXiv:2309.15505): each entry is rounded to a level."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, PRNGKeyArray, Shaped, UInt32

from lfq_jax.quantizers.checks import (
    Codes,
    Indices,
    check_indices,
    check_level_codes,
    check_z,
)
from lfq_jax.quantizers.config import FSQConfig
from lfq_jax.quantizers.protocol import (
    AxisName,
    Quantized,
    Tree,
    straight_through,
)
from lfq_jax.quantizers.statistics import code_use, non_finite, quantisation_error

_MARGIN = 1e-3
"""Relative margin of tanh beyond the outer levels, so that rounding reaches them."""


@dataclass(frozen=True)
class FSQ:
    """Codes are int32 `[..., d]`: the level of each entry, counted from 0.

    z_q is in [-1, 1]: level l of L is (l - L // 2) / (L // 2). The first entry is the
    *least* significant digit of an index, as in the paper.
    """

    config: FSQConfig

    @property
    def dim(self) -> int:
        """Number of entries of z, each with its own number of levels."""
        return len(self.config.levels)

    @property
    def code_count(self) -> int:
        """Product of the levels."""
        return math.prod(self.config.levels)

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Returns no weights and no state."""
        del key
        return {}, ()

    def _half_width(self) -> np.ndarray:
        return np.asarray(self.config.levels, np.float32) // 2

    def bounded(self, z: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """z mapped by tanh to the range of its levels, which are the integers.

        With 3 or more levels, z = 0 maps to a level. An even number of levels needs a
        shift for this: an artanh here, a tan in the paper's listing, which is close.
        With 2 levels the shift would be 3.8, so none is applied and z = 0 is the
        border of the two.
        """
        levels = np.asarray(self.config.levels)
        half = (levels - 1) * (1 + _MARGIN) / 2
        offset = np.where(levels % 2 == 0, 0.5, 0.0)
        shift = np.where(levels == 2, 0.0, np.arctanh(offset / half))
        half, offset, shift = (a.astype(np.float32) for a in (half, offset, shift))
        return jnp.tanh(z + shift) * half - offset

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
        """Nearest levels, without a loss. The gradient is that of `bounded`."""
        del params, key, step
        check_z(z, dim=self.dim, training=training)
        bounded = self.bounded(z.astype(jnp.float32))
        half_width = self._half_width()
        hard = jnp.round(bounded)
        codes = (hard + half_width).astype(jnp.int32)
        z_q = straight_through(hard / half_width, bounded / half_width).astype(z.dtype)
        statistics = {}
        if training:
            error = quantisation_error(
                bounded / half_width, hard / half_width, axis_name
            )
            words = [self._indices(codes).reshape(-1)]
            statistics = {
                **code_use(words, axis_name),
                "quantisation_error": error,
                "non_finite": non_finite(z, axis_name),
            }
        loss = jnp.zeros((), jnp.float32)
        return Quantized(z_q, codes, loss, jax.lax.stop_gradient(statistics), state)

    def _place_values(self) -> np.ndarray:
        return np.cumprod([1, *self.config.levels[:-1]]).astype(np.uint32)

    def codes_to_indices(self, codes: Codes) -> UInt32[Array, "*b"]:
        """Levels as digits of a mixed-radix number; the first is least significant."""
        check_level_codes(codes, levels=self.config.levels)
        return self._indices(jnp.asarray(codes))

    def _indices(self, codes: Int32[Array, "*batch d"]) -> UInt32[Array, "*b"]:
        """As `codes_to_indices`, without a check: NaN in z makes codes out of range."""
        return jnp.sum(
            codes.astype("uint32") * self._place_values(), -1, dtype="uint32"
        )

    def indices_to_codes(self, indices: Indices) -> Int32[Array, "*batch d"]:
        """Inverse of `codes_to_indices`."""
        check_indices(indices, code_count=self.code_count)
        digits = jnp.asarray(indices).astype("uint32")[..., None]
        digits = digits // self._place_values()
        return (digits % np.asarray(self.config.levels, np.uint32)).astype(jnp.int32)

    def decode(
        self, params: Tree, state: Tree, codes: Codes
    ) -> Float[Array, "*batch d"]:
        """The values of the levels, in [-1, 1]."""
        del params, state
        check_level_codes(codes, levels=self.config.levels)
        half_width = self._half_width()
        return (jnp.asarray(codes).astype(jnp.float32) - half_width) / half_width
