"""Checks of z, codes and indices. Of tracers only shape and dtype are checked."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

Indices = Array | np.ndarray  # integers; numpy's where jax has no uint64
Codes = Array | np.ndarray  # bools or integers, by quantizer


def check_z(z: Array, *, dim: int, training: bool = False) -> None:
    """Refuse a z of the wrong shape or dtype, and an empty one in training.

    Raises:
        ValueError: if z is not an array of floats, its last axis is not `dim`, or
            `training` is set and z holds no position.
    """
    if z.ndim < 1 or z.shape[-1] != dim:
        raise ValueError(
            f"z must have a last axis of {dim}, the quantizer's dim, got shape "
            f"{tuple(z.shape)}"
        )
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise ValueError(f"z must hold floats, got dtype {z.dtype}")
    if training and not z.size:
        raise ValueError(
            "z must hold at least one position in training, since the loss is a mean "
            f"over them, got shape {tuple(z.shape)}"
        )


def check_indices(indices: Indices, *, code_count: int) -> None:
    """Refuse indices outside [0, code_count).

    Raises:
        TypeError: if the indices are not an array.
        ValueError: if the indices are not integers or one is out of range.
    """
    _check_integers("indices", indices)
    _check_range("indices", indices, code_count)


def check_bit_codes(codes: Codes, *, axes: tuple[int, ...]) -> None:
    """Refuse codes that are not bool `[..., *axes]`.

    Raises:
        TypeError: if the codes are not an array.
        ValueError: for another shape or dtype. Numbers are refused since -1 and +1,
            or 0 and 1, may be meant.
    """
    _check_array("codes", codes)
    _check_axes(codes, axes)
    if codes.dtype != bool:
        raise ValueError(f"codes must hold bools, got dtype {codes.dtype}")


def check_level_codes(codes: Codes, *, levels: Sequence[int]) -> None:
    """Refuse codes that are not integers `[..., len(levels)]` below their levels.

    Raises:
        TypeError: if the codes are not an array.
        ValueError: for another shape or dtype, or if a code is out of range.
    """
    _check_integers("codes", codes)
    _check_axes(codes, (len(levels),))
    for i, level in enumerate(levels):
        _check_range(f"codes[..., {i}]", codes[..., i], level)


def check_codebook_codes(codes: Codes, *, code_count: int) -> None:
    """Refuse codes that are not integers in [0, code_count).

    Raises:
        TypeError: if the codes are not an array.
        ValueError: for another dtype, or if a code is out of range.
    """
    _check_integers("codes", codes)
    _check_range("codes", codes, code_count)


def _check_array(name: str, values: object) -> None:
    if not hasattr(values, "dtype") or not hasattr(values, "shape"):
        raise TypeError(f"{name} must be an array, got {type(values).__name__}")


def _check_integers(name: str, values: Indices) -> None:
    _check_array(name, values)
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise ValueError(f"{name} must be integers, got dtype {values.dtype}")


def _check_axes(codes: Codes, axes: tuple[int, ...]) -> None:
    if tuple(codes.shape[-len(axes) :]) != axes:
        shape = ", ".join(map(str, axes))
        raise ValueError(
            f"codes must have shape [..., {shape}], got {tuple(codes.shape)}"
        )


def _check_range(name: str, values: Indices, count: int) -> None:
    if isinstance(values, Tracer) or values.size == 0:
        return
    host = np.asarray(values)
    lowest, highest = int(host.min()), int(host.max())
    if lowest < 0 or highest >= count:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"{name} must be in [0, {count}), got {wrong}")
