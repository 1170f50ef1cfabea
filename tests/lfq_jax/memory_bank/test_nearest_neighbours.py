"""The searches for the nearest patch, against the plainest ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.export.graph_rewrite import plain_graph
from lfq_jax.memory_bank.nearest_neighbours import (
    TIE,
    nearest_anywhere,
    nearest_in_window,
    nearest_indices,
    squared_distances,
    window_tiles,
)

anywhere = jax.jit(nearest_anywhere)


@pytest.mark.parametrize("lanes", [20, 100, 300])
def test_the_four_nearest_are_those_of_a_sort(lanes):
    rng = np.random.default_rng(0)
    query, memory = rng.normal(size=(50, 6)), rng.normal(size=(300, 6))
    squared = ((query[:, None] - memory[None]) ** 2).sum(-1)
    ours = jax.jit(squared_distances)(query, memory)
    np.testing.assert_allclose(ours, squared, rtol=1e-4, atol=1e-4)
    found = np.asarray(jax.jit(nearest_indices)(ours.reshape(50, -1, lanes)))
    assert all(len(set(each)) == 4 for each in found.tolist())
    chosen = np.take_along_axis(squared, found, 1)
    np.testing.assert_allclose(chosen, np.sort(squared, 1)[:, :4], rtol=2**-11)


def test_all_four_nearest_may_lie_in_one_lane():
    squared = np.full((1, 6, 8), 9.0, np.float32)
    squared[0, [1, 4, 2, 5], 3] = 1.0, 1.5, 2.0, 2.5
    found = np.asarray(jax.jit(nearest_indices)(squared))
    assert found.tolist() == [[8 + 3, 4 * 8 + 3, 2 * 8 + 3, 5 * 8 + 3]]


def test_a_patch_that_is_nearer_than_all_others_counts_alone():
    query = np.zeros((1, 1, 3), np.float32)
    patches = np.asarray([[2, 0, 0], [0, 0, 1], [0, 2, 0], [3, 3, 3]], np.float32)
    found = anywhere(query, patches)
    np.testing.assert_allclose(found[0, 0], [0, 0, 1], atol=1e-6)


def test_the_difference_is_from_the_nearest_patch_anywhere():
    rng = np.random.default_rng(1)
    query, patches = rng.normal(size=(5, 4, 3)), rng.normal(size=(40, 3))
    found = np.asarray(anywhere(query, patches)).sum(-1)
    plain = ((query[:, :, None] - patches) ** 2).sum(-1).min(-1)
    assert np.all(found >= plain * (1 - 1e-4))
    assert np.all(found <= plain * (1 + TIE))


STEPS = 1e-6 * np.arange(-8000, 8001)[:, None]


def _as_near(count: int, features: int) -> np.ndarray:
    """Patches at distance 1 from 0, the third and later ones a little farther."""
    patches = np.random.default_rng(3).normal(size=(count, features))
    lengths = 1 + 0.1 * TIE * np.maximum(np.arange(count) - 1, 0)
    return patches * (lengths / np.linalg.norm(patches, axis=1))[:, None]


def _lengths(squared: np.ndarray) -> np.ndarray:
    """Of the four groups of features. [n f] -> [n 4]"""
    return np.sqrt(squared.reshape(len(squared), 4, -1).sum(-1))


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_nothing_jumps_where_another_patch_becomes_the_nearest(more):
    """The query goes from one patch towards another, with `more` about as near."""
    near = _as_near(2 + more, features=40)
    far = 9 * np.random.default_rng(4).normal(size=(60, 40))
    patches = jnp.asarray(np.concatenate([near, far]), jnp.float32)
    query = jnp.asarray(STEPS * (near[1] - near[0]), jnp.float32)
    lengths = _lengths(np.asarray(anywhere(query[None], patches))[0])
    apart = np.abs(lengths[-1] - lengths[0]).max()
    assert apart > 0.05, "the two must look different"
    assert np.abs(np.diff(lengths, axis=0)).max() < 1e-3 * apart


def _in_place(query: np.ndarray, places: np.ndarray, window: int, **chosen: int):
    return np.asarray(_searched(query, places, window=window, **chosen))


@functools.partial(jax.jit, static_argnames=("window", "first", "count"))
def _searched(
    query: jax.Array, places: jax.Array, *, window: int, **chosen: int
) -> jax.Array:
    return nearest_in_window(query, window_tiles(places, window), **chosen)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (16, 24), (5, 11)])
@pytest.mark.parametrize("window", [1, 3])
def test_in_place_is_the_nearest_patch_in_the_window(rows, columns, window):
    rng = np.random.default_rng(2)
    query = rng.normal(size=(rows, columns, 4))
    places = rng.normal(size=(2, rows, columns, 4))
    found = _in_place(query, places, window).sum(-1)
    for row, column in np.ndindex(rows, columns):
        top, left = max(0, row - window), max(0, column - window)
        about = places[:, top : row + window + 1, left : column + window + 1]
        plain = ((about - query[row, column]) ** 2).sum(-1).min()
        assert plain * (1 - 1e-4) <= found[row, column] <= plain * (1 + TIE)


@pytest.mark.parametrize("cell", [(0, 0), (4, 4), (7, 2)])
def test_in_place_nothing_jumps_either(cell):
    """At the border of the image, too, where fewer patches are compared."""
    rng = np.random.default_rng(4)
    places = 9 * rng.normal(size=(1, 8, 8, 40))
    near = _as_near(2, features=40)
    places[0][cell], places[0, cell[0], cell[1] + 1] = near
    found = []
    for step in STEPS[::500]:
        query = rng.normal(size=(8, 8, 40))
        query[cell] = step * (near[1] - near[0])
        found.append(_in_place(query, places, 1)[cell])
    lengths = _lengths(np.asarray(found))
    apart = np.abs(lengths[-1] - lengths[0]).max()
    assert apart > 0.05, "the two must look different"
    assert np.abs(np.diff(lengths, axis=0)).max() < 0.3 * apart


def _on_other_devices(search, *arrays: np.ndarray) -> np.ndarray:
    """What `search` finds where it takes all distances at once."""
    specs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in arrays]
    return np.asarray(jax.jit(plain_graph(search, *specs))(*arrays)[0])


def test_anywhere_all_at_once_finds_what_part_by_part_does():
    rng = np.random.default_rng(5)
    # Six parts, the last not full.
    query = rng.normal(size=(37, 59, 7)).astype(np.float32)
    patches = rng.normal(size=(1100, 7)).astype(np.float32)
    by_parts = np.asarray(anywhere(query, patches))
    at_once = _on_other_devices(nearest_anywhere, query, patches)
    np.testing.assert_allclose(by_parts, at_once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chosen", [(0, None), (2, 2)])
def test_in_place_all_at_once_finds_what_square_by_square_does(chosen):
    rng = np.random.default_rng(6)
    query = rng.normal(size=(11, 21, 5)).astype(np.float32)
    places = rng.normal(size=(6, 11, 21, 5)).astype(np.float32)
    first, count = chosen

    def search(query, places, first):
        near = window_tiles(places, 2)
        return nearest_in_window(query, near, first=first, count=count)

    by_squares = np.asarray(jax.jit(search)(query, places, first))
    at_once = _on_other_devices(search, query, places, np.array(first, np.int32))
    np.testing.assert_allclose(by_squares, at_once, rtol=1e-5, atol=1e-5)


def test_only_the_chosen_places_are_compared():
    rng = np.random.default_rng(7)
    query = rng.normal(size=(9, 8, 4))
    places = rng.normal(size=(5, 9, 8, 4))
    alone = _in_place(query, places[1:3], 1)
    chosen = _in_place(query, places, 1, first=1, count=2)
    np.testing.assert_array_equal(alone, chosen)
