"""How the distance by the deepest stage changes the odds of an image score."""

import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.memory_bank.deepest import (
    NEAR,
    deepest_odds_factors,
    fit_deepest_statistics,
)


def _distances(scale: float) -> np.ndarray:
    """Ten images of 20 x 20 cells; the four farthest of each lie around `scale`."""
    rng = np.random.default_rng(0)
    distances = rng.uniform(0, scale / 2, (10, 400))
    distances[:, 7:11] = scale * rng.uniform(0.9, 1.1, (10, 1))
    return distances.reshape(10, 20, 20).astype(np.float16)


def test_statistics_are_of_the_farthest_hundredth_of_the_cells():
    statistics = fit_deepest_statistics(_distances(2.0))
    farthest = np.log(_distances(2.0).reshape(10, 400)[:, 7].astype(float) + 0.04)
    assert statistics.mean == pytest.approx(farthest.mean(), rel=1e-4)
    spread = np.hypot(farthest.std(), 0.05)
    assert statistics.deviation == pytest.approx(spread, rel=1e-3)


def test_a_deviation_more_multiplies_the_odds_by_e_to_the_weight():
    statistics = fit_deepest_statistics(_distances(2.0))
    steps = jnp.arange(0.0, 4.0).reshape(1, 2, 2)
    logarithms = statistics.mean + (NEAR + steps) * statistics.deviation
    distances = jnp.exp(logarithms) - 0.04
    factors = deepest_odds_factors(distances, statistics, 0.5)
    np.testing.assert_allclose(factors, np.exp(0.5 * steps), rtol=1e-4)


def test_near_images_keep_their_odds():
    statistics = fit_deepest_statistics(_distances(2.0))
    near = jnp.linspace(0.0, 1.5, 4).reshape(1, 2, 2)
    np.testing.assert_array_equal(deepest_odds_factors(near, statistics, 0.5), 1.0)


@pytest.mark.parametrize("scale", [0.0, 1e-3])
def test_shots_that_do_not_differ_give_finite_factors(scale: float):
    statistics = fit_deepest_statistics(_distances(scale))
    assert statistics.deviation >= 0.05
    longest = jnp.full((1, 2, 2), 8.0)  # between opposite vectors of length 4
    for weight in (2 / 3, 8.0):
        assert np.isfinite(deepest_odds_factors(longest, statistics, weight)).all()
