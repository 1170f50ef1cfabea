"""Sign bits, and their conversion to integers with the first bit most significant."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from lfq_jax.quantizers.checks import Codes, Indices, check_bit_codes, check_indices

_WORD = 32


def signs(codes: Bool[Array, "*batch k"]) -> Float[Array, "*batch k"]:
    """+1 where the bit is set, -1 where it is not."""
    return jnp.where(codes, 1.0, -1.0)


def sign_bits(z: Float[Array, "*batch k"]) -> Bool[Array, "*batch k"]:
    """True where z >= 0. Both 0 and -0.0 count as +1."""
    return z >= 0


def bits_to_words(codes: Bool[Array, "*batch k"]) -> list[Array]:
    """The bits as uint32 words of up to 32 bits, most significant word first."""
    bits = codes.shape[-1]
    first = bits % _WORD or min(bits, _WORD)
    edges = [0, *range(first, bits + 1, _WORD)]
    return [_word(codes[..., start:stop]) for start, stop in itertools.pairwise(edges)]


def _word(codes: Bool[Array, "*batch k"]) -> Array:
    weights = jnp.asarray([1 << i for i in reversed(range(codes.shape[-1]))], "uint32")
    return jnp.sum(codes * weights, axis=-1, dtype="uint32")


def bits_to_indices(codes: Codes) -> Indices:
    """Index of each code: sum of bit i times 2^(k - 1 - i).

    The dtype is uint32 up to 32 bits and uint64 beyond. jax has uint64 only with
    `jax_enable_x64`. Without that option a numpy array is returned, outside jit only.

    Raises:
        ValueError: if the codes are not bools, if there are more than 64 bits, or more
            than 32 inside jit without `jax_enable_x64`.
    """
    bits = codes.shape[-1]
    check_bit_codes(codes, axes=(bits,))
    if not 1 <= bits <= 2 * _WORD:
        raise ValueError(f"codes must have 1 to 64 bits to make an index, got {bits}")
    words = bits_to_words(jnp.asarray(codes))
    if len(words) == 1:
        return words[0]
    if jax.config.read("jax_enable_x64"):
        high, low = (word.astype("uint64") for word in words)
        return (high << _WORD) | low
    _check_outside_jit(words[0], bits)
    high, low = (np.asarray(word).astype(np.uint64) for word in words)
    return (high << np.uint64(_WORD)) | low


def indices_to_bits(indices: Indices, *, bits: int) -> Bool[Array, "*batch k"]:
    """The `bits` bits of each index, most significant first.

    Raises:
        ValueError: if an index is negative or 2^bits or more (outside jit only), or
            if the indices are not integers.
    """
    check_indices(indices, code_count=1 << bits)
    if bits <= _WORD:
        low = jnp.asarray(indices).astype("uint32")
        return _bits_of_word(low, bits)
    if jax.config.read("jax_enable_x64"):
        wide = jnp.asarray(indices).astype("uint64")
        high, low = (wide >> _WORD).astype("uint32"), wide.astype("uint32")
    else:
        _check_outside_jit(indices, bits)
        host = np.asarray(indices).astype(np.uint64)
        high = jnp.asarray((host >> np.uint64(_WORD)).astype(np.uint32))
        low = jnp.asarray((host & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    parts = [_bits_of_word(high, bits - _WORD), _bits_of_word(low, _WORD)]
    return jnp.concatenate(parts, axis=-1)


def _bits_of_word(word: Array, bits: int) -> Bool[Array, "*batch k"]:
    shifts = jnp.arange(bits - 1, -1, -1, dtype="uint32")
    return ((word[..., None] >> shifts) & 1).astype(bool)


def _check_outside_jit(x: Indices, bits: int) -> None:
    if isinstance(x, Tracer):
        raise ValueError(
            f"indices of {bits} bits need uint64: set jax_enable_x64, or convert "
            "outside jit"
        )
