"""Losses against closed forms and slow references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lfq_jax.config import LossConfig
from lfq_jax.model.scoring import smooth
from lfq_jax.ops.gaussian import gaussian_smooth
from lfq_jax.training.losses import dice_loss, focal_loss, ssim, ssim_loss


def _pair(shape=(2, 24, 20, 3)):
    x, y = jax.random.uniform(jax.random.key(0), (2, *shape))
    return x, y


def _slow_ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Wang et al. 2004, eq. 13, one plane, away from the border."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(z):
        z = ndimage.correlate1d(z, window, axis=0)
        return ndimage.correlate1d(z, window, axis=1)

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    top = (2 * mx * my + 0.01**2) * (2 * cov + 0.03**2)
    return top / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))


def test_away_from_the_border_ssim_equals_the_formula():
    x, y = _pair()
    ours = np.asarray(ssim(x, y))[0, 6:-6, 6:-6, 1]
    x64, y64 = (np.asarray(z[0, ..., 1], np.float64) for z in (x, y))
    np.testing.assert_allclose(ours, _slow_ssim(x64, y64)[6:-6, 6:-6], atol=1e-4)


def test_ssim_loss_is_zero_for_equal_images_and_symmetric():
    x, y = _pair()
    assert float(ssim_loss(x, x)) == pytest.approx(0.0, abs=1e-6)
    assert float(ssim_loss(x, y)) == pytest.approx(float(ssim_loss(y, x)), abs=1e-6)


def test_ssim_of_one_image_does_not_depend_on_the_other_images_of_its_batch():
    """DRAEM derives the dynamic range from the data, which couples the images."""
    x, y = _pair()
    bright = x.at[1].mul(0.1), y.at[1].mul(0.1)
    np.testing.assert_allclose(ssim(x, y)[0], ssim(*bright)[0], atol=1e-6)


def test_smoothing_keeps_a_constant_image_up_to_its_border():
    constant = jnp.full((1, 9, 13, 1), 0.7)
    smoothed = gaussian_smooth(constant, window_px=5, sigma_px=1.0)
    np.testing.assert_allclose(smoothed, constant, atol=1e-6)


@pytest.mark.parametrize("px", [32, 96, 256])
def test_smoothed_maps_stay_in_the_unit_interval(px: int):
    """The sums of the window's weights are rounded up or down."""
    smoothed = smooth(jnp.ones((1, px, px)), 0.016)
    assert float(smoothed.max()) <= 1
    np.testing.assert_allclose(smoothed, 1, atol=1e-6)


def test_dice_is_zero_for_a_perfect_map_and_near_one_for_an_inverted_map():
    mask = jnp.zeros((2, 16, 16)).at[0, :8].set(1.0)
    assert float(dice_loss(mask, mask)) == pytest.approx(0.0, abs=1e-6)
    assert float(dice_loss(1 - mask, mask)) > 0.99


def test_dice_of_a_batch_without_anomalies_falls_with_the_false_alarms():
    nothing = jnp.zeros((2, 8, 8))
    some, few = jnp.full((2, 8, 8), 0.5), jnp.full((2, 8, 8), 0.01)
    assert float(dice_loss(nothing, nothing)) == pytest.approx(0.0)
    assert float(dice_loss(few, nothing)) < float(dice_loss(some, nothing))


def test_focal_loss_with_gamma_zero_equals_the_cross_entropy():
    logits = jax.random.normal(jax.random.key(1), (2, 4, 4, 2))
    mask = (jax.random.uniform(jax.random.key(2), (2, 4, 4)) > 0.5).astype(jnp.float32)
    log_p = jax.nn.log_softmax(logits)
    expected = -jnp.mean(mask * log_p[..., 1] + (1 - mask) * log_p[..., 0])
    assert float(focal_loss(logits, mask, gamma=0.0)) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_focal_loss_and_its_gradient_are_finite_at_extreme_logits():
    logits = jnp.array([[[[1e4, -1e4], [-1e4, 1e4]]]])
    mask = jnp.array([[[1.0, 1.0]]])
    value, gradient = jax.value_and_grad(lambda z: focal_loss(z, mask))(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["mse_weight", "dice_weight"])
def test_loss_weights_sum_to_one_and_are_refused_outside_0_to_1(name: str):
    config = LossConfig(mse_weight=0.3, dice_weight=0.9)
    assert config.mse_weight + config.ssim_weight == pytest.approx(1.0)
    assert config.dice_weight + config.focal_weight == pytest.approx(1.0)
    with pytest.raises(ValueError, match=name):
        LossConfig(**{name: 1.5})  # type: ignore[arg-type]
