"""Image scores and smoothing, of whole maps and of a part of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import ScoreConfig
from lfq_jax.model.scoring import image_scores, multiply_odds, smooth, top_mean

MAPS = jax.random.uniform(jax.random.key(0), (2, 32, 32))
INSIDE = np.zeros((2, 32, 32), bool)
INSIDE[0, 4:28] = True
INSIDE[1, :, 10:20] = True


def test_sigma_is_a_share_of_the_side_of_a_square_of_the_same_area():
    peak = jnp.zeros((1, 16, 64)).at[0, 8, 32].set(1.0)
    square = jnp.zeros((1, 32, 32)).at[0, 16, 16].set(1.0)
    assert smooth(peak, 0.05)[0, 8, 32] == pytest.approx(
        float(smooth(square, 0.05)[0, 16, 16]), rel=1e-5
    )


@pytest.mark.parametrize("which", [0, 1])
def test_scores_of_a_part_are_those_of_the_map_cut_to_it(which):
    config = ScoreConfig(top_k_share=0.02, max_sigma=0.04)
    found = image_scores(MAPS, config, jnp.asarray(INSIDE))
    rows, columns = (np.flatnonzero(INSIDE[which].any(axis)) for axis in (1, 0))
    cut = MAPS[which][np.ix_(rows, columns)][None]
    # Smoothing uses the same window as for the whole map.
    sigma = 0.04 * 32 / np.sqrt(cut.size)
    expected = image_scores(cut, ScoreConfig(top_k_share=0.02, max_sigma=float(sigma)))
    for name, values in expected.items():
        assert found[name][which] == pytest.approx(float(values[0]), rel=1e-5), name


def test_the_mean_of_the_largest_values_is_of_those_inside_and_of_one_at_least():
    values = jnp.arange(16.0).reshape(1, 4, 4)
    assert top_mean(values, 0.25)[0] == np.mean([12, 13, 14, 15])
    assert top_mean(values, 0.01)[0] == 15
    inside = jnp.zeros((1, 4, 4), bool).at[0, 1:3, :2].set(True)
    assert top_mean(values, 0.5, inside)[0] == np.mean([8, 9])
    assert top_mean(values, 0.01, inside)[0] == 9


def test_odds_are_multiplied_and_scores_stay_in_bounds():
    scores = jnp.asarray([0.0, 0.2, 0.5, 1.0])
    found = np.asarray(multiply_odds(scores, jnp.full(4, 4.0)))
    np.testing.assert_allclose(found, [0.0, 0.5, 0.8, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(multiply_odds(scores, jnp.ones(4)), scores)


def test_smoothing_takes_nothing_from_outside():
    maps = jnp.where(INSIDE, 0.25, 1.0)
    smoothed = smooth(maps, 0.05, jnp.asarray(INSIDE))
    np.testing.assert_allclose(np.asarray(smoothed)[INSIDE], 0.25, rtol=1e-5)
