"""The searches for the nearest patch, against the plainest ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.nearest import (
    from_anywhere,
    from_in_place,
    nearest_index,
    squared_distances,
    surroundings,
)


def test_nearest_is_argmin_where_distances_differ_enough():
    rng = np.random.default_rng(0)
    query, memory = rng.normal(size=(50, 6)), rng.normal(size=(300, 6))
    squared = ((query[:, None] - memory[None]) ** 2).sum(-1)
    ours = squared_distances(jnp.asarray(query), jnp.asarray(memory))
    np.testing.assert_allclose(ours, squared, rtol=1e-4, atol=1e-4)
    found = np.asarray(nearest_index(ours))
    chosen = np.take_along_axis(squared, found[:, None], 1)[:, 0]
    np.testing.assert_allclose(chosen, squared.min(1), rtol=2**-13 * 4)


def test_the_difference_is_from_the_nearest_patch_anywhere():
    rng = np.random.default_rng(1)
    query, patches = rng.normal(size=(5, 4, 3)), rng.normal(size=(40, 3))
    found = np.asarray(from_anywhere(jnp.asarray(query), jnp.asarray(patches)))
    plain = np.linalg.norm(query[:, :, None] - patches, axis=-1).min(-1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), plain, rtol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (16, 24), (5, 11)])
@pytest.mark.parametrize("window", [1, 3])
def test_in_place_is_the_nearest_patch_in_the_window(rows, columns, window):
    rng = np.random.default_rng(2)
    query = rng.normal(size=(rows, columns, 4))
    places = rng.normal(size=(2, rows, columns, 4))
    near = surroundings(jnp.asarray(places), window)
    found = np.linalg.norm(from_in_place(jnp.asarray(query), near), axis=-1)
    for row, column in np.ndindex(rows, columns):
        top, left = max(0, row - window), max(0, column - window)
        about = places[:, top : row + window + 1, left : column + window + 1]
        plain = np.linalg.norm(about - query[row, column], axis=-1).min()
        np.testing.assert_allclose(found[row, column], plain, rtol=1e-3)
