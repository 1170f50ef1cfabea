"""The logistic regression beside the discriminator."""

import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.memory_bank.logistic_head import (
    BLURS,
    Cells,
    LogisticHead,
    draw_cells,
    fit_logistic_head,
    head_log_odds,
    mixed_heads,
)


def _distances(count: int = 8, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise in two channels, and squares in which the second is a little larger."""
    rng = np.random.default_rng(seed)
    distances = rng.normal(1.0, 0.3, (count, 32, 32, 2)).astype(np.float16)
    masks = np.zeros((count, 128, 128), np.uint8)
    for i in range(count // 2):
        row, column = rng.integers(0, 20, 2)
        distances[i, row : row + 12, column : column + 12, 1] += 0.6
        masks[i, 4 * row : 4 * (row + 12), 4 * column : 4 * (column + 12)] = 1
    return distances, masks


def _fit(distances: np.ndarray, masks: np.ndarray, *, seed: int = 0) -> LogisticHead:
    return fit_logistic_head(_cells(distances, masks, seed=seed))


def _cells(distances: np.ndarray, masks: np.ndarray, *, seed: int = 0) -> Cells:
    return draw_cells(distances, masks, rng=np.random.default_rng((seed, 2)))


def test_it_finds_in_new_images_what_it_was_fitted_to_find():
    head = _fit(*_distances())
    distances, masks = _distances(seed=1)
    logits = np.asarray(head_log_odds(head, jnp.asarray(distances, jnp.float32)))
    inside = masks[:, ::4, ::4] > 0
    assert logits.shape == inside.shape
    assert (logits[inside] > 0).mean() > 0.8
    assert (logits[~inside] > 0).mean() < 0.1


def test_a_larger_distance_everywhere_counts_less_than_in_one_place():
    """All distances of a new good part may be larger."""
    head = _fit(*_distances())
    distances = np.ones((3, 64, 64, 2), np.float32)
    distances[1] += 0.6
    distances[2, 28:36, 28:36] += 0.6
    good, all_over, in_one_place = np.asarray(
        head_log_odds(head, jnp.asarray(distances))
    )
    assert good[32, 32] < all_over[32, 32] < in_one_place[32, 32]


def test_a_channel_of_full_contrast_counts_only_where_it_differs_from_its_surround():
    head = fit_logistic_head(_cells(*_distances()), contrast=[0.5, 1.0])
    _, subtracted = head.surround_weights.reshape(len(BLURS), 2).T
    np.testing.assert_array_equal(subtracted, head.weights[1::2])
    flat = np.ones((2, 64, 64, 2), np.float32)
    flat[1, ..., 1] += 0.6
    lower, higher = np.asarray(head_log_odds(head, jnp.asarray(flat)))
    np.testing.assert_allclose(higher[32, 32], lower[32, 32], atol=1e-3)


def test_every_blur_of_every_channel_has_one_weight():
    head = _fit(*_distances())
    assert head.weights.shape == (2 * len(BLURS),)


def test_an_ignored_channel_has_no_weight():
    head = fit_logistic_head(_cells(*_distances()), ignored=[True, False])
    np.testing.assert_allclose(head.weights[::2], 0.0, atol=1e-12)
    assert np.abs(head.weights[1::2]).max() > 0.1


def test_a_mixed_head_has_the_weighted_mean_of_the_log_odds():
    drawn = _cells(*_distances())
    whole = fit_logistic_head(drawn)
    second = fit_logistic_head(drawn, ignored=[False, True])
    images = jnp.asarray(_distances(seed=1)[0][:2], jnp.float32)
    one, two, mixed = (
        np.asarray(head_log_odds(head, images))
        for head in (whole, second, mixed_heads(whole, second, 0.75))
    )
    np.testing.assert_allclose(mixed, 0.25 * one + 0.75 * two, atol=1e-4)


def test_a_constant_channel_has_no_weight():
    distances, masks = _distances()
    distances[..., 0] = 3.0
    head = _fit(distances, masks)
    np.testing.assert_allclose(head.weights[::2], 0.0, atol=1e-6)


def test_weights_stay_bounded_where_the_labels_are_perfectly_separable():
    """Without a penalty, the weights would grow without bound."""
    distances, masks = _distances()
    distances[..., 1] = np.where(masks[:, ::4, ::4], 9.0, distances[..., 1])
    head = _fit(distances, masks)
    logits = np.asarray(head_log_odds(head, jnp.asarray(distances, jnp.float32)))
    assert 2 < np.abs(logits).max() < 8


def test_the_same_seed_fits_the_same_weights_to_the_bit():
    one, two = (_fit(*_distances(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)


@pytest.mark.parametrize("side", [1, 128])
def test_an_anomaly_of_one_pixel_and_one_of_all_the_image_can_be_fitted(side: int):
    distances, _ = _distances()
    masks = np.zeros((8, 128, 128), np.uint8)
    masks[0, :side, :side] = 1
    head = _fit(distances, masks)
    assert np.isfinite(head.weights).all() and np.isfinite(head.bias)
