"""What every quantizer is: pure functions with explicit shapes, weights and state."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

Tree = Any  # a nested dict of arrays, or ()
AxisName = str | tuple[str, ...]
Indices = Array | np.ndarray  # integers; numpy's where jax has no uint64


class Quantized(NamedTuple):
    """What one call of `quantize` gives."""

    z_q: Float[Array, "*batch d"]
    """Quantised z, of z's shape and dtype. Its gradient goes straight through to z."""
    codes: Array
    """The code of each position, in the quantizer's own form: see `Quantizer`."""
    loss: Float[Array, ""]
    """All regularisers, weighted, in float32. 0 where `training` is false."""
    statistics: dict[str, Float[Array, ""]]
    """Scalars to log, without gradient. Empty where `training` is false."""
    state: Tree
    """The state for the next call."""


@runtime_checkable
class Quantizer(Protocol):
    """Static definition of a quantizer. Holds no arrays; hashable, so fit for jit."""

    @property
    def dim(self) -> int:
        """Length of z's last axis."""
        ...

    @property
    def code_count(self) -> int:
        """How many codes a position may take. 0 where there are none."""
        ...

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """Weights that a gradient trains, and the state that `quantize` hands on."""
        ...

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
        """Replace every vector of z by its code.

        Args:
            params: the weights, from `init`.
            state: the state, from `init` or the last call.
            z: any array of floats whose last axis has length `dim`.
            training: false leaves out the loss, the statistics and new state.
            axis_name: mapped axis (shard_map, pmap, vmap) over which the batch is
                split. Means over the batch are then taken over all of it, so loss,
                statistics and state are the same on every device.
            key: randomness, for the quantizers that draw in training.
            step: optimisation steps so far, for the schedules.

        Raises:
            ValueError: if z's last axis is not `dim` or z holds no floats.
        """
        ...

    def codes_to_indices(self, codes: Array) -> Indices:
        """Integer below `code_count` of each code."""
        ...

    def indices_to_codes(self, indices: Indices) -> Array:
        """Inverse of `codes_to_indices`.

        Raises:
            ValueError: if an index is out of range (arrays outside jit only).
        """
        ...

    def decode(self, params: Tree, state: Tree, codes: Array) -> Array:
        """The z_q, in float32, that these codes stand for."""
        ...


def check_z(z: Array, *, dim: int) -> None:
    """Refuse what cannot be quantised.

    Raises:
        ValueError: if z is no array of floats or its last axis is not `dim`.
    """
    if z.ndim < 1 or z.shape[-1] != dim:
        raise ValueError(
            f"z must have a last axis of {dim}, the quantizer's dim, got shape "
            f"{tuple(z.shape)}"
        )
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise ValueError(f"z must hold floats, got dtype {z.dtype}")


def straight_through(hard: Array, z: Array) -> Array:
    """`hard`, exactly, in value; the identity of z in gradient (arXiv:1308.3432).

    z - z is 0 for every finite z, so nothing is rounded; where z is NaN or infinite
    the result is NaN, so that a broken encoder never looks quantised.
    """
    return hard + (z - jax.lax.stop_gradient(z))


def mean_over(x: Array, axis_name: AxisName | None) -> Array:
    """Mean over the devices of a mapped axis; x itself where there is none."""
    return x if axis_name is None else jax.lax.pmean(x, axis_name)


def device_count(axis_name: AxisName | None) -> int:
    """How many devices share the batch."""
    return 1 if axis_name is None else jax.lax.psum(1, axis_name)
