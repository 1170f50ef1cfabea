"""Nearest neighbours by cosine distance, compared with scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from lfq_jax.config import KnnConfig
from lfq_jax.training_free.nearest import (
    even_turns_deg,
    fit_patches,
    half_cosine_distance,
)
from lfq_jax.training_free.patch_features import unit_length


def drawn(count: int, *, seed: int = 0, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 300, 1100])  # below and above a CPU's block
def test_distances_equal_scikit_learns(count):
    query, patches = drawn(63, seed=1), drawn(count)
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(patches)
    expected = index.kneighbors(query)[0].reshape(7, 9) / 2
    found = jax.jit(half_cosine_distance)(
        unit_length(jnp.asarray(query)).reshape(7, 9, -1),
        unit_length(jnp.asarray(patches)),
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_known_patch_has_distance_0_and_an_opposite_one_1():
    patch = unit_length(jnp.asarray(drawn(1)))
    query = jnp.stack([patch, -patch])[None, :, 0]
    found = np.asarray(half_cosine_distance(query, patch))
    np.testing.assert_allclose(found, [[0, 1]], atol=1e-6)
    assert found.min() >= 0 and found.max() <= 1


def test_the_bank_keeps_all_patches_or_as_many_as_the_config_allows():
    parts = [jnp.asarray(drawn(40, seed=seed)) for seed in range(3)]

    def kept(**config) -> np.ndarray:
        return np.asarray(fit_patches(parts, KnnConfig(**config), seed=0))

    np.testing.assert_array_equal(kept(patches=0), np.concatenate(parts))
    np.testing.assert_array_equal(kept(patches=120), np.concatenate(parts))
    assert kept(patches=50).shape == (50, 24)
    assert kept(patches=50, coreset=0.1).shape == (5, 24)
    other = np.asarray(fit_patches(parts, KnnConfig(patches=50), seed=1))
    assert not np.array_equal(kept(patches=50), other)


def test_rotations_are_evenly_spaced_and_include_the_upright_shot():
    assert even_turns_deg(KnnConfig()) == [0, 45, 90, 135, 180, 225, 270, 315]
    assert even_turns_deg(KnnConfig(rotations=1)) == [0]
