"""The searches for the nearest patch, against the plainest ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.nearest import (
    TIE,
    from_anywhere,
    from_in_place,
    nearest_indices,
    squared_distances,
    surroundings,
)


@pytest.mark.parametrize("lanes", [20, 100, 300])
def test_the_four_nearest_are_those_of_a_sort(lanes):
    rng = np.random.default_rng(0)
    query, memory = rng.normal(size=(50, 6)), rng.normal(size=(300, 6))
    squared = ((query[:, None] - memory[None]) ** 2).sum(-1)
    ours = squared_distances(jnp.asarray(query), jnp.asarray(memory))
    np.testing.assert_allclose(ours, squared, rtol=1e-4, atol=1e-4)
    found = np.asarray(nearest_indices(ours.reshape(50, -1, lanes)))
    assert all(len(set(each)) == 4 for each in found.tolist())
    chosen = np.take_along_axis(squared, found, 1)
    np.testing.assert_allclose(chosen, np.sort(squared, 1)[:, :4], rtol=2**-11)


def test_all_four_nearest_may_lie_in_one_lane():
    squared = np.full((1, 6, 8), 9.0, np.float32)
    squared[0, [1, 4, 2, 5], 3] = 1.0, 1.5, 2.0, 2.5
    found = np.asarray(nearest_indices(jnp.asarray(squared)))
    assert found.tolist() == [[8 + 3, 4 * 8 + 3, 2 * 8 + 3, 5 * 8 + 3]]


def test_a_patch_that_is_nearer_than_all_others_counts_alone():
    query = np.zeros((1, 1, 3), np.float32)
    patches = np.asarray([[2, 0, 0], [0, 0, 1], [0, 2, 0], [3, 3, 3]], np.float32)
    found = from_anywhere(jnp.asarray(query), jnp.asarray(patches))
    np.testing.assert_allclose(found[0, 0], [0, 0, 1], atol=1e-6)


def test_the_difference_is_from_the_nearest_patch_anywhere():
    rng = np.random.default_rng(1)
    query, patches = rng.normal(size=(5, 4, 3)), rng.normal(size=(40, 3))
    found = from_anywhere(jnp.asarray(query), jnp.asarray(patches)).sum(-1)
    plain = ((query[:, :, None] - patches) ** 2).sum(-1).min(-1)
    assert np.all(found >= plain * (1 - 1e-4))
    assert np.all(found <= plain * (1 + TIE))


def _turned_to_tie(more: int) -> tuple[np.ndarray, np.ndarray]:
    """A cell, and patches that are nearly as near but differ in other features."""
    rng = np.random.default_rng(3)
    apart = rng.normal(size=(2 + more, 40))
    lengths = np.ones(2 + more)
    lengths[2:] += TIE * rng.uniform(0.1, 0.9, more)
    apart *= (lengths / np.linalg.norm(apart, axis=1))[:, None]
    rest = rng.normal(size=(200, 40))
    query = rng.normal(size=40)
    return query, np.concatenate([query + apart, query + 3 * rest])


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_rounding_does_not_choose_between_patches_that_are_as_near(more):
    """Two patches tie, and `more` are nearly as near: the tie broken either way."""
    query, patches = _turned_to_tie(more)
    found = []
    for nudge in (1e-6, -1e-6):
        nudged = patches.copy()
        nudged[0] += nudge * (nudged[0] - query)
        nudged[1] -= nudge * (nudged[1] - query)
        both = [jnp.asarray(x, jnp.float32) for x in (query[None, None], nudged)]
        found.append(np.asarray(from_anywhere(*both))[0, 0])
    for features in np.split(np.arange(40), 4):
        one, other = (np.sqrt(each[features].sum()) for each in found)
        assert abs(one - other) < 5e-5
    plain = [((query - patch) ** 2)[:10].sum() ** 0.5 for patch in patches[:2]]
    assert abs(plain[0] - plain[1]) > 0.05, "the two must look different"


def _in_place(query: np.ndarray, places: np.ndarray, window: int):
    near = surroundings(jnp.asarray(places), window)
    return np.asarray(from_in_place(jnp.asarray(query), near))


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
def test_in_place_rounding_does_not_choose_either(cell):
    rng = np.random.default_rng(4)
    places = 3 * rng.normal(size=(1, 8, 8, 20))
    query = rng.normal(size=(8, 8, 20))
    row, column = cell
    beside = (row, column + 1)
    for place in (cell, beside):
        apart = rng.normal(size=20)
        places[0][place] = query[cell] + apart / np.linalg.norm(apart)
    found = []
    for nudge in (1e-6, -1e-6):
        nudged = places.copy()
        nudged[0][cell] += nudge * (nudged[0][cell] - query[cell])
        found.append(_in_place(query, nudged, 1)[cell])
    assert np.abs(found[0] - found[1]).max() < 5e-5
    difference = (places[0][cell] - query[cell]) ** 2
    assert np.abs(difference - (places[0][beside] - query[cell]) ** 2).max() > 0.05
