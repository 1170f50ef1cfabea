"""The interface of every quantizer: pure functions with explicit weights and state."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from lfq_jax.quantizers.checks import Codes, Indices

Tree = Any  # a nested dict of arrays, or ()
AxisName = str | tuple[str, ...]


class Quantized(NamedTuple):
    """The results of one call of `quantize`."""

    z_q: Float[Array, "*batch d"]
    """Quantised z, of z's shape and dtype. Its gradient goes straight through to z."""
    codes: Array
    """The code of each position, in the quantizer's own format: see its class."""
    loss: Float[Array, ""]
    """Weighted sum of all regularisers, in float32. 0 if `training` is false."""
    statistics: dict[str, Float[Array, ""]]
    """Scalars to log, without gradient. Empty if `training` is false."""
    state: Tree
    """The state for the next call."""


@runtime_checkable
class Quantizer(Protocol):
    """Static definition of a quantizer: hashable and without arrays, hence jit-safe.

    What goes into a method is checked: shapes and dtypes always, ranges where the
    values are known, outside jit. An empty batch has an empty result in every method
    except a training call of `quantize`, whose loss and statistics are means over the
    batch: it refuses an empty z.
    """

    @property
    def dim(self) -> int:
        """Length of z's last axis."""
        ...

    @property
    def code_count(self) -> int:
        """Number of possible codes of a position. 0 if there are no codes."""
        ...

    def init(self, key: PRNGKeyArray) -> tuple[Tree, Tree]:
        """The weights, trained by gradients, and the state, updated by `quantize`."""
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
            state: the state, from `init` or the previous call.
            z: any array of floats whose last axis has length `dim`.
            training: false omits the loss, the statistics and the new state.
            axis_name: mapped axis (shard_map, pmap, vmap) over which the batch is
                split. Means are then taken over the whole batch, so loss, statistics
                and state are equal on every device.
            key: random key, for the quantizers that sample in training.
            step: optimisation steps so far, for the schedules.

        Raises:
            ValueError: if z's last axis is not `dim`, z does not hold floats, or z is
                empty in training.
        """
        ...

    def codes_to_indices(self, codes: Codes) -> Indices:
        """Index of each code: an integer below `code_count`.

        Raises:
            ValueError: if the codes have another shape or dtype than those of
                `quantize`, or one is out of range (arrays outside jit only).
        """
        ...

    def indices_to_codes(self, indices: Indices) -> Array:
        """Inverse of `codes_to_indices`.

        Raises:
            ValueError: if an index is out of range (arrays outside jit only).
        """
        ...

    def decode(self, params: Tree, state: Tree, codes: Codes) -> Array:
        """The z_q of these codes, in float32.

        Raises:
            ValueError: as `codes_to_indices`.
        """
        ...


def straight_through(hard: Array, z: Array) -> Array:
    """`hard` in value, exactly; the identity of z in gradient (arXiv:1308.3432).

    z - z is 0 for every finite z, so nothing is rounded. Where z is NaN or infinite the
    result is NaN, so a diverged encoder never looks quantised.
    """
    return hard + (z - jax.lax.stop_gradient(z))


def mean_over(x: Array, axis_name: AxisName | None) -> Array:
    """Mean of x over the devices of a mapped axis; x itself without an axis."""
    return x if axis_name is None else jax.lax.pmean(x, axis_name)


def device_count(axis_name: AxisName | None) -> int:
    """Number of devices that share the batch."""
    return 1 if axis_name is None else jax.lax.psum(1, axis_name)
