"""An autoencoder of features: what it repairs, and what it leaves of its inputs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax import quantizers
from lfq_jax.config import FeatureAutoencoderConfig
from lfq_jax.memory_bank.feature_autoencoder import (
    _surround,
    fit_feature_autoencoder,
    quantizer_of,
    reconstruction_residuals,
)

SIZES = (6, 10)
SMALL = FeatureAutoencoderConfig(
    quantizer=quantizers.config_of(
        "lfq", bits=16, entropy_weight=0.0, commitment_weight=0.02
    ),
    hidden=32,
    steps=150,
)


def images(count: int, *, seed: int, directions: int = 0) -> list[np.ndarray]:
    """Features near a curve of one parameter; `directions` chooses the curve."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(directions).normal(size=(3, sum(SIZES)))
    t = rng.uniform(0, 3, (count, 8, 9, 1))
    curve = np.concatenate([np.cos(t), np.sin(t), np.ones_like(t)], -1) @ mixing
    return list((curve + 0.05 * rng.normal(size=curve.shape)).astype(np.float32))


def residuals(autoencoder, shown, config=SMALL):
    stacked = jnp.asarray(np.stack(shown))
    compared = jax.jit(reconstruction_residuals, static_argnums=(2, 3))
    return np.asarray(compared(autoencoder, stacked, SIZES, config))


@pytest.fixture(scope="module")
def fitted():
    return fit_feature_autoencoder(images(4, seed=0), SIZES, SMALL, seed=0)


def test_features_like_the_shots_are_reconstructed_and_others_are_not(fitted):
    good = residuals(fitted, images(2, seed=1))
    other = residuals(fitted, images(2, seed=1, directions=5))
    assert good.shape == (2, 8, 9, len(SIZES))
    assert good.mean() < 0.02
    assert other.mean() > 10 * good.mean()
    assert 0 <= good.min() and other.max() <= 1


def test_a_defect_in_one_group_leaves_a_residual_in_its_own_cell(fitted):
    (image,) = images(1, seed=2)
    spoilt = image.copy()
    spoilt[3, 4, : SIZES[0]] *= -1
    before, after = residuals(fitted, [image])[0], residuals(fitted, [spoilt])[0]
    assert after[3, 4, 0] > 0.3 > before[3, 4, 0]
    elsewhere = np.ones(after.shape[:2], bool)
    elsewhere[3, 4] = False
    np.testing.assert_array_equal(after[elsewhere], before[elsewhere])


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(fitted):
    again, other = (
        fit_feature_autoencoder(images(4, seed=0), SIZES, SMALL, seed=seed)
        for seed in (0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, fitted, again)
    assert (fitted.weights.kernel_in != other.weights.kernel_in).any()


def test_noise_teaches_it_to_repair(fitted):
    """The residual of disturbed features is the disturbance itself."""
    clean = images(2, seed=3)
    rng = np.random.default_rng(0)
    disturbed = [x + 0.5 * rng.normal(size=x.shape).astype(np.float32) for x in clean]
    disturbance = np.mean(
        [_half_cosine_distance(x, y) for x, y in zip(clean, disturbed, strict=True)]
    )
    without_noise = dataclasses.replace(SMALL, noise=0.0)
    copying = fit_feature_autoencoder(images(4, seed=0), SIZES, without_noise, seed=0)
    excess = {
        noise: residuals(made, disturbed).mean() / disturbance - 1
        for noise, made in ((SMALL.noise, fitted), (0.0, copying))
    }
    assert abs(excess[SMALL.noise]) < 0.15
    assert excess[0.0] > 2 * abs(excess[SMALL.noise])


def _half_cosine_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over the cells and the groups."""
    groups = zip(np.split(x, SIZES[:1], -1), np.split(y, SIZES[:1], -1), strict=True)
    cosines = [
        (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        for a, b in groups
    ]
    return float((1 - np.mean(cosines)) / 2)


@pytest.mark.parametrize("name", sorted(quantizers.QUANTIZERS))
def test_any_quantizer_can_be_the_bottleneck(name):
    small = {"vq": {"codes": 64}, "simvq": {"codes": 64}, "gumbel_vq": {"codes": 64}}
    named = quantizers.config_of(name, **small.get(name, {}))
    if name in ("lfq", "bsq", "residual_lfq"):
        named = dataclasses.replace(named, bits=8)
    config = dataclasses.replace(SMALL, quantizer=named, continuous_dim=12)
    made = fit_feature_autoencoder(images(4, seed=0), SIZES, config, seed=0)
    good = residuals(made, images(2, seed=1), config).mean()
    other = residuals(made, images(2, seed=1, directions=5), config).mean()
    assert good < 0.05 and other > 3 * good


def test_a_continuous_bottleneck_has_the_width_of_the_quantized_one():
    continuous = dataclasses.replace(SMALL, continuous=True)
    assert quantizer_of(continuous).dim == quantizer_of(SMALL).dim == 16
    assert quantizer_of(continuous).code_count == 0


def test_the_surround_of_a_cell_is_read_row_by_row_and_repeats_the_border():
    image = np.arange(12.0).reshape(3, 4, 1)
    found = _surround(image, 3)
    assert found[1, 1].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert found[0, 3].tolist() == [2, 3, 3, 2, 3, 3, 6, 7, 7]
    np.testing.assert_array_equal(found, _surround(jnp.asarray(image), 3))
    assert _surround(image, 1) is image


def test_a_surround_of_cells_is_encoded_where_the_config_asks_for_it():
    config = dataclasses.replace(SMALL, context=3)
    made = fit_feature_autoencoder(images(4, seed=0), SIZES, config, seed=0)
    assert len(made.weights.kernel_in) == 9 * sum(SIZES)
    assert residuals(made, images(2, seed=1), config).mean() < 0.05


def test_features_without_any_variance_have_finite_residuals():
    same = [np.full((8, 9, sum(SIZES)), 0.25, np.float32)] * 2
    made = fit_feature_autoencoder(same, SIZES, SMALL, seed=0)
    assert np.allclose(residuals(made, same), 0, atol=1e-3)
    assert np.isfinite(residuals(made, images(1, seed=0))).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"context": 2}, "context must be odd, got 2"),
        ({"context": 9}, r"context must be in \[1, 7\], got 9"),
        ({"steps": 0}, r"steps must be in \[1, 1000000\], got 0"),
        ({"noise": -1.0}, r"noise must be in \[0, 10\], got -1"),
        ({"hidden": 0}, r"hidden must be in \[1, 65536\], got 0"),
    ],
)
def test_impossible_settings_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        FeatureAutoencoderConfig(**changes)
