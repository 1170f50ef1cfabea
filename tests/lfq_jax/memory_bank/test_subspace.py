"""Residuals outside the principal subspace, compared with scikit-learn's PCA."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA

from lfq_jax.config import SubspaceConfig
from lfq_jax.memory_bank.subspace import (
    Moments,
    fit_subspace,
    quarter_squared_residual,
    random_turns_deg,
)
from lfq_jax.training_free.patch_features import unit_length


def drawn(count: int, *, seed: int = 0, width: int = 30) -> np.ndarray:
    """Unit-length vectors whose variance decays quickly over the directions."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(width, width))
    spread = rng.normal(size=(count, width)) * 0.6 ** np.arange(width)
    return np.asarray(unit_length(jnp.asarray(spread @ mixing + 2, jnp.float32)))


@pytest.mark.parametrize("variance", [0.5, 0.99])
@pytest.mark.parametrize("count", [20, 500])  # fewer and more than features
def test_residuals_equal_scikit_learns(variance, count):
    patches, query = drawn(count), drawn(50, seed=1)
    peer = PCA(n_components=variance, svd_solver="full").fit(patches.astype(np.float64))
    repaired = peer.inverse_transform(peer.transform(query))
    expected = ((query - repaired) ** 2).sum(1)
    moments = Moments.of(jnp.asarray(patches))
    subspace = fit_subspace(moments, variance)
    assert subspace.residual_axes.shape == (30, 30 - peer.n_components_)
    found = 4 * quarter_squared_residual(subspace, jnp.asarray(query))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.max() > 1e-3


def test_the_moments_of_parts_add_up():
    parts = [jnp.asarray(drawn(count, seed=count)) for count in (5, 40, 7)]
    whole = Moments.of(jnp.concatenate(parts))
    together = Moments.together([Moments.of(part) for part in parts])
    assert together.number == whole.number == 52
    np.testing.assert_allclose(together.total, whole.total, rtol=1e-12)
    np.testing.assert_allclose(together.products, whole.products, rtol=1e-12)


def test_patches_without_any_variance_leave_every_direction_as_residual():
    same = jnp.asarray(np.repeat(drawn(1), 10, axis=0))
    subspace = fit_subspace(Moments.of(same), 0.99)
    query = jnp.asarray(drawn(4, seed=3))
    expected = ((query - same[0]) ** 2).sum(1)
    found = 4 * quarter_squared_residual(subspace, query)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(quarter_squared_residual(subspace, same), 0, atol=1e-12)


def test_residuals_of_opposite_vectors_stay_in_0_to_1():
    patch = jnp.asarray(drawn(1))
    subspace = fit_subspace(Moments.of(patch), 0.99)
    found = quarter_squared_residual(subspace, -patch)
    np.testing.assert_allclose(found, 1, atol=1e-6)
    assert float(found.max()) <= 1


def test_random_rotations_follow_the_seed_and_differ_between_shots():
    config = SubspaceConfig(rotations=30)
    first = random_turns_deg(config, seed=0, shot=0)
    assert first[0] == 0 and len(first) == 31
    assert all(0 <= turn < 360 for turn in first)
    assert first == random_turns_deg(config, seed=0, shot=0)
    assert first != random_turns_deg(config, seed=0, shot=1)
    assert first != random_turns_deg(config, seed=1, shot=0)
