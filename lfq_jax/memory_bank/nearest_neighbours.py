"""The nearest patch, anywhere or about the same place: exact searches for a CPU.

Where two patches are nearly as near, both count, by how near they are. Otherwise the
rounding of a compiler would decide which of two patches that look different is taken.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

_FAR = 1e30
_FAR_FEATURE = 1e6  # of a patch that is none, so that it is never the nearest
_TILE_CELLS = 8  # a side; larger ones compare more in vain, smaller ones multiply worse
_LANES = 256
_CANDIDATES = 4  # the last of them counts nothing
TIE = 2.0**-6
"""Patches whose squared distance is up to this share larger than the least count, too.
Roundings differ by 2^-19 of it at most: they move a weight by 2^-13 or so."""
_ROUNDING = 2.0**-18  # where more patches than candidates are as near as the nearest
_AT_A_TIME = 2**19
"""Distances that `nearest_anywhere` has of a CPU before it looks for the least of them: as
many as the cache holds. Of all at once, half of the time goes into memory. Other
devices, and ONNX graphs, have them all at once."""


def squared_distances(
    query: Float[Array, "*b p f"], memory: Float[Array, "*b n f"]
) -> Float[Array, "*b p n"]:
    """All squared distances of one matrix's rows from another's."""
    of_query = (query * query).sum(-1, keepdims=True)
    of_memory = (memory * memory).sum(-1)[..., None, :]
    return of_query + of_memory + jnp.einsum("...pf,...nf->...pn", -2 * query, memory)


def nearest_indices(
    squared: Float[Array, "*b r l"],
) -> Int32[Array, "*b c"]:
    """Indices of the smallest of r x l squared distances, the least first.

    The smallest are among the lanes, of r distances each, with the smallest minima: one
    pass over all distances, which are many, and then a look at few. Twice as fast as
    XLA's argmin on a CPU, which finds one.
    """
    *_, rows, lanes = squared.shape
    lane = _smallest(squared.min(-2))
    of_lanes = jnp.broadcast_to(lane[..., None, :], (*squared.shape[:-1], _CANDIDATES))
    among = jnp.take_along_axis(squared, of_lanes, axis=-1)
    best = _smallest(among.reshape(*among.shape[:-2], rows * _CANDIDATES))
    which = jnp.take_along_axis(lane, best % _CANDIDATES, axis=-1)
    return best // _CANDIDATES * lanes + which


def _smallest(squared: Float[Array, "*b n"]) -> Int32[Array, "*b c"]:
    """Indices of the smallest, the least first.

    The index rides in the low bits of the distance, whose order as an integer is its
    order as a number: a plain minimum, three times faster than XLA's argmin on a CPU.
    Of 256 distances, those within a relative 2^-15 count as equal, and the first of
    them is taken.
    """
    count = squared.shape[-1]
    bits = jax.lax.bitcast_convert_type(jnp.maximum(squared, 0.0), jnp.int32)
    low = (1 << (count - 1).bit_length()) - 1
    packed = (bits & ~low) | jnp.arange(count, dtype=jnp.int32)
    found = [packed.min(-1)]
    while len(found) < _CANDIDATES:
        larger = packed > found[-1][..., None]
        found.append(jnp.where(larger, packed, np.iinfo(np.int32).max).min(-1))
    return jnp.stack(found, -1) & low


def _from_nearest(
    query: Float[Array, "*b f"], candidates: Float[Array, "*b c f"]
) -> Float[Array, "*b f"]:
    """Squared difference from the nearest candidate, and from those as near.

    Their weights fall to 0 at a distance `TIE` larger, and at the farthest candidate's:
    what is no candidate would have counted nothing. So the mean is continuous.
    """
    difference = query[..., None, :] - candidates
    difference = difference * difference
    squared = difference.sum(-1)
    least = squared.min(-1, keepdims=True)
    reach = jnp.minimum(least * (1 + TIE), squared.max(-1, keepdims=True))
    weights = jnp.maximum(reach + (least * _ROUNDING + 1e-12) - squared, 0.0)
    weights = weights / weights.sum(-1, keepdims=True)
    return (weights[..., None] * difference).sum(-2)


def nearest_anywhere(
    query: Float[Array, "h w f"], patches: Float[Array, "n f"]
) -> Float[Array, "h w f"]:
    """The squared difference from the nearest patch, feature by feature."""
    flat = query.reshape(-1, query.shape[-1])
    missing = -len(patches) % _LANES
    patches = jnp.pad(patches, ((0, missing), (0, 0)), constant_values=_FAR_FEATURE)

    def all_at_once(query: Float[Array, "p f"], patches: Array) -> Float[Array, "p f"]:
        squared = squared_distances(query, patches).reshape(len(query), -1, _LANES)
        return _from_nearest(query, patches[nearest_indices(squared)])

    def part_by_part(query: Float[Array, "p f"], patches: Array) -> Float[Array, "p f"]:
        count = -(-len(query) * len(patches) // _AT_A_TIME)
        filled = jnp.pad(query, ((0, -len(query) % count), (0, 0)))
        parts = filled.reshape(count, -1, query.shape[-1])
        found = jax.lax.map(lambda part: all_at_once(part, patches), parts)
        return found.reshape(filled.shape)[: len(query)]

    found = jax.lax.platform_dependent(
        flat, patches, cpu=part_by_part, default=all_at_once
    )
    return found.reshape(query.shape)


class WindowTiles(NamedTuple):
    """What squares of cells are compared with: what lies on them and `window` about."""

    places: Float[Array, "k _ _ f"]
    """With a border, so that there is something all about every square."""
    squares: Float[Array, "t k*n f"]
    """The same, cut into squares that overlap: for those who take all at once."""
    too_far: np.ndarray
    """Adds to the distances of a square's cells from the patches about it: 0, or more
    than any distance where a patch is more than `window` away. [p n]"""
    window: int


def window_tiles(places: Float[Array, "k h w f"], window: int) -> WindowTiles:
    """What `nearest_in_window` searches.

    Args:
      window: in cells, at least 1.
    """
    _, h, w, f = places.shape
    tile, side = _TILE_CELLS, _TILE_CELLS + 2 * window
    about = (
        (0, 0),
        (window, window + -h % tile),
        (window, window + -w % tile),
        (0, 0),
    )
    # Not the cells at the border again: a patch counts once among those as near.
    padded = jnp.pad(places, about, constant_values=_FAR_FEATURE)
    row, column = np.divmod(np.arange(tile * tile), tile)
    of_row, of_column = np.divmod(np.arange(side * side), side)
    down = np.abs(row[:, None] + window - of_row)
    across = np.abs(column[:, None] + window - of_column)
    tops, lefts = range(0, h, tile), range(0, w, tile)
    cut = [padded[:, i : i + side, j : j + side] for i in tops for j in lefts]
    squares = jnp.stack(cut).reshape(len(cut), -1, f)
    is_far = (down > window) | (across > window)
    return WindowTiles(padded, squares, np.float32(_FAR) * is_far, window)


def nearest_in_window(
    query: Float[Array, "h w f"],
    near: WindowTiles,
    *,
    first: Int32[Array, ""] | int = 0,
    count: int | None = None,
) -> Float[Array, "h w f"]:
    """The squared difference from the nearest patch at most `window` cells away.

    A CPU takes the squares of cells one by one, others take them all at once; most of
    each matrix product is in vain.

    Args:
      first: of the k places, the first that is compared.
      count: how many are, from that one on; None for all.
    """
    h, w, f = query.shape
    tile = _TILE_CELLS
    rows, columns = -(-h // tile), -(-w // tile)
    filled = jnp.pad(query, ((0, rows * tile - h), (0, columns * tile - w), (0, 0)))
    cells = filled.reshape(rows, tile, columns, tile, f).transpose(0, 2, 1, 3, 4)
    cells = cells.reshape(-1, tile * tile, f)
    count = len(near.places) if count is None else count
    side = tile + 2 * near.window

    def compared(
        cells: Float[Array, "*b p f"], patches: Float[Array, "*b n f"]
    ) -> Float[Array, "*b p f"]:
        squared = squared_distances(cells, patches)
        squared = squared.reshape(*squared.shape[:-1], count, side * side)
        nearest = nearest_indices(squared + near.too_far[:, None])
        index = nearest.reshape(*nearest.shape[:-2], -1, 1)
        candidates = jnp.take_along_axis(patches, index, axis=-2)
        return _from_nearest(cells, candidates.reshape(*nearest.shape, f))

    def all_at_once(cells: Array, first: Array) -> Array:
        start, size = first * side * side, count * side * side
        chosen = jax.lax.dynamic_slice_in_dim(near.squares, start, size, axis=1)
        return compared(cells, chosen)

    def square_by_square(cells: Array, first: Array) -> Array:
        def of_square(each: tuple[Array, Array, Array]) -> Array:
            cells, row, column = each
            start, size = (first, row * tile, column * tile, 0), (count, side, side, f)
            about = jax.lax.dynamic_slice(near.places, start, size)
            return compared(cells, about.reshape(-1, f))

        row, column = np.divmod(np.arange(rows * columns), columns)
        return jax.lax.map(of_square, (cells, jnp.asarray(row), jnp.asarray(column)))

    found = jax.lax.platform_dependent(
        cells,
        jnp.asarray(first, jnp.int32),
        cpu=square_by_square,
        default=all_at_once,
    )
    found = found.reshape(rows, columns, tile, tile, f).transpose(0, 2, 1, 3, 4)
    return found.reshape(rows * tile, columns * tile, f)[:h, :w]
