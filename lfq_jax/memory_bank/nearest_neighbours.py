"""Exact searches for the nearest patch, anywhere or in a window, that suit a CPU.

Patches that are almost equally near all count, weighted by how near they are. Without
the weights, a compiler's rounding would decide which of two different patches counts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

_FAR_DISTANCE = 1e30
_FAR_FEATURE = 1e6  # of padding patches, so that they are never the nearest
_TILE_CELLS = 8
"""Side of a tile of cells, where all tiles are compared at once. A larger tile compares
more pairs of cells in vain, and smaller tiles take more memory."""
_CPU_TILE_CELLS = 4
"""Side of a tile on a CPU, which compares one tile after another. It divides
`_TILE_CELLS`."""
_LANES = 256
_CANDIDATES = 4  # the last one always has weight 0
TIE = 2.0**-6
"""A patch counts if its squared distance exceeds the smallest by at most this share.
Rounding errors are at most 2^-19 of it, so they change a weight by about 2^-13."""
_ROUNDING = 2.0**-18  # keeps weights above 0 where all candidates are equally near
_CPU_BLOCK = 2**19
"""Number of distances that `nearest_anywhere` computes on a CPU before it reduces them:
as many as fit in the cache. With all distances in one array, half of the time would be
memory traffic. Other devices and ONNX graphs compute all of them in one array."""


def squared_distances(
    query: Float[Array, "*b p f"], memory: Float[Array, "*b n f"]
) -> Float[Array, "*b p n"]:
    """Squared distances between all rows of one matrix and all rows of another."""
    query_squares = (query * query).sum(-1, keepdims=True)
    memory_squares = (memory * memory).sum(-1)[..., None, :]
    squares = query_squares + memory_squares
    return squares + jnp.einsum("...pf,...nf->...pn", -2 * query, memory)


def nearest_indices(
    squared: Float[Array, "*b r l"],
) -> Int32[Array, "*b c"]:
    """Indices of the four smallest of r x l squared distances, the smallest first.

    The l lanes have r distances each. The four smallest distances are in the four lanes
    with the smallest minima. So one pass over all distances computes the minima, and a
    second pass searches four lanes. On a CPU this is twice as fast as XLA's argmin,
    which returns only one index.
    """
    *_, rows, lanes = squared.shape
    lane = _smallest(squared.min(-2))
    lane_index = jnp.broadcast_to(
        lane[..., None, :], (*squared.shape[:-1], _CANDIDATES)
    )
    in_lanes = jnp.take_along_axis(squared, lane_index, axis=-1)
    best = _smallest(in_lanes.reshape(*in_lanes.shape[:-2], rows * _CANDIDATES))
    best_lane = jnp.take_along_axis(lane, best % _CANDIDATES, axis=-1)
    return best // _CANDIDATES * lanes + best_lane


def _smallest(squared: Float[Array, "*b n"]) -> Int32[Array, "*b c"]:
    """Indices of the four smallest values, the smallest first.

    The index is stored in the low bits of the distance. Positive floats have the same
    order as their bits read as integers, so a plain minimum gives the index. On a CPU
    this is three times faster than XLA's argmin. Of 256 distances, those within a
    relative 2^-15 count as equal, and the first of them is chosen.
    """
    count = squared.shape[-1]
    bits = jax.lax.bitcast_convert_type(jnp.maximum(squared, 0.0), jnp.int32)
    low = (1 << (count - 1).bit_length()) - 1
    packed = (bits & ~low) | jnp.arange(count, dtype=jnp.int32)
    minima = [packed.min(-1)]
    while len(minima) < _CANDIDATES:
        larger = packed > minima[-1][..., None]
        minima.append(jnp.where(larger, packed, np.iinfo(np.int32).max).min(-1))
    return jnp.stack(minima, -1) & low


def _difference_from_nearest(
    query: Float[Array, "*b f"], candidates: Float[Array, "*b c f"]
) -> Float[Array, "*b f"]:
    """Mean squared difference from the nearest candidate and those almost as near.

    A candidate's weight falls to 0 where its squared distance is `TIE` larger than the
    smallest, or where it is the farthest candidate. A patch that becomes a candidate
    therefore starts with weight 0, and the mean is continuous.
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
    """Squared difference of every cell from its nearest patch, feature by feature."""
    flat = query.reshape(-1, query.shape[-1])
    missing = -len(patches) % _LANES
    patches = jnp.pad(patches, ((0, missing), (0, 0)), constant_values=_FAR_FEATURE)

    def all_at_once(query: Float[Array, "p f"], patches: Array) -> Float[Array, "p f"]:
        squared = squared_distances(query, patches).reshape(len(query), -1, _LANES)
        return _difference_from_nearest(query, patches[nearest_indices(squared)])

    def block_by_block(
        query: Float[Array, "p f"], patches: Array
    ) -> Float[Array, "p f"]:
        count = -(-len(query) * len(patches) // _CPU_BLOCK)
        padded = jnp.pad(query, ((0, -len(query) % count), (0, 0)))
        blocks = padded.reshape(count, -1, query.shape[-1])
        nearest = jax.lax.map(lambda block: all_at_once(block, patches), blocks)
        return nearest.reshape(padded.shape)[: len(query)]

    nearest = jax.lax.platform_dependent(
        flat, patches, cpu=block_by_block, default=all_at_once
    )
    return nearest.reshape(query.shape)


class WindowTiles(NamedTuple):
    """The patches that `nearest_in_window` compares each tile of cells with.

    A tile is compared with a square of patches: the tile's own cells and those up to
    `window` cells around it.
    """

    padded: Float[Array, "k _ _ f"]
    """The patches in place, with a border, so that every tile has a whole square."""
    squares: Float[Array, "t k*n f"]
    """`padded` cut into the overlapping squares, for searches of all tiles at once."""
    window: int


def window_tiles(in_place: Float[Array, "k h w f"], window: int) -> WindowTiles:
    """Prepare patches in place for `nearest_in_window`.

    Args:
      in_place: features of every cell of k images.
      window: radius of the window in cells, at least 1.
    """
    _, h, w, f = in_place.shape
    tile, side = _TILE_CELLS, _TILE_CELLS + 2 * window
    border = (
        (0, 0),
        (window, window + -h % tile),
        (window, window + -w % tile),
        (0, 0),
    )
    # The border must not repeat cells: each patch may count once among ties.
    padded = jnp.pad(in_place, border, constant_values=_FAR_FEATURE)
    tops, lefts = range(0, h, tile), range(0, w, tile)
    cut = [padded[:, i : i + side, j : j + side] for i in tops for j in lefts]
    squares = jnp.stack(cut).reshape(len(cut), -1, f)
    return WindowTiles(padded, squares, window)


def _outside(tile: int, window: int) -> Float[np.ndarray, "p n"]:
    """Added to the distances between a tile's cells and its square's patches: 0 within
    the window, and more than any distance outside it."""
    side = tile + 2 * window
    row, column = np.divmod(np.arange(tile * tile), tile)
    patch_row, patch_column = np.divmod(np.arange(side * side), side)
    down = np.abs(row[:, None] + window - patch_row)
    across = np.abs(column[:, None] + window - patch_column)
    return np.float32(_FAR_DISTANCE) * ((down > window) | (across > window))


def nearest_in_window(
    query: Float[Array, "h w f"],
    tiles: WindowTiles,
    *,
    first: Int32[Array, ""] | int = 0,
    count: int | None = None,
) -> Float[Array, "h w f"]:
    """Squared difference of every cell from its nearest patch in the window.

    Feature by feature. A CPU computes tile by tile, other devices compute all tiles at
    once. Many products of each matrix product are outside the window and not needed.

    Args:
      first: index of the first of the k images that are compared.
      count: number of images from `first` on. None: all k.
    """
    f = query.shape[-1]
    count = len(tiles.padded) if count is None else count

    def all_at_once(query: Array, first: Array) -> Array:
        side = _TILE_CELLS + 2 * tiles.window
        start, size = first * side * side, count * side * side
        chosen = jax.lax.dynamic_slice_in_dim(tiles.squares, start, size, axis=1)
        cells = _cut_into_tiles(query, _TILE_CELLS)
        outside = _outside(_TILE_CELLS, tiles.window)
        nearest = _compare_tiles(cells, chosen, outside, count)
        return _joined(nearest, query, _TILE_CELLS)

    def tile_by_tile(query: Array, first: Array) -> Array:
        tile = _CPU_TILE_CELLS
        side, outside = tile + 2 * tiles.window, _outside(tile, tiles.window)

        def compare(position: tuple[Array, Array, Array]) -> Array:
            cells, row, column = position
            start = first, row * tile, column * tile, 0
            square = jax.lax.dynamic_slice(tiles.padded, start, (count, side, side, f))
            return _compare_tiles(cells, square.reshape(-1, f), outside, count)

        cells = _cut_into_tiles(query, tile)
        row, column = np.divmod(np.arange(len(cells)), -(-query.shape[1] // tile))
        positions = cells, jnp.asarray(row), jnp.asarray(column)
        return _joined(jax.lax.map(compare, positions), query, tile)

    return jax.lax.platform_dependent(
        query,
        jnp.asarray(first, jnp.int32),
        cpu=tile_by_tile,
        default=all_at_once,
    )


def _cut_into_tiles(query: Float[Array, "h w f"], tile: int) -> Float[Array, "t p f"]:
    """The cells of every tile, row by row. The last tiles are filled with zeros."""
    h, w, f = query.shape
    rows, columns = -(-h // tile), -(-w // tile)
    padded = jnp.pad(query, ((0, rows * tile - h), (0, columns * tile - w), (0, 0)))
    cells = padded.reshape(rows, tile, columns, tile, f).transpose(0, 2, 1, 3, 4)
    return cells.reshape(-1, tile * tile, f)


def _joined(tiles: Float[Array, "t p f"], like: Array, tile: int) -> Array:
    """The cells of all tiles in place, without those that filled the last tiles."""
    h, w, f = like.shape
    rows, columns = -(-h // tile), -(-w // tile)
    cells = tiles.reshape(rows, columns, tile, tile, f).transpose(0, 2, 1, 3, 4)
    return cells.reshape(rows * tile, columns * tile, f)[:h, :w]


def _compare_tiles(
    cells: Float[Array, "*b p f"],
    patches: Float[Array, "*b n f"],
    outside: np.ndarray,
    count: int,
) -> Float[Array, "*b p f"]:
    """Squared difference of every cell of a tile from its nearest patch in the window.

    Args:
      patches: the tile's squares of patches, from `count` images.
      outside: see `_outside`.
    """
    squared = squared_distances(cells, patches)
    squared = squared.reshape(*squared.shape[:-1], count, -1)
    nearest = nearest_indices(squared + outside[:, None])
    index = nearest.reshape(*nearest.shape[:-2], -1, 1)
    candidates = jnp.take_along_axis(patches, index, axis=-2)
    candidates = candidates.reshape(*nearest.shape, cells.shape[-1])
    return _difference_from_nearest(cells, candidates)
