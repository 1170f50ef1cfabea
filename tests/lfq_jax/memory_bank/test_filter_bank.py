"""The filter bank: what it responds to, and in which direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.filter_bank import (
    LINES,
    ORIENTATIONS,
    STRUCTURES,
    describe,
    group_sizes,
)

compiled = jax.jit(describe, static_argnames=("levels", "stride"))


def _quarter_turned(features: np.ndarray) -> np.ndarray:
    """Every map turned by 90 degrees, and the orientations with it."""
    found = []
    ends = np.cumsum(group_sizes(2))[:-1]
    for group in np.split(np.rot90(features, axes=(1, 2)), ends, axis=-1):
        around = {STRUCTURES: ORIENTATIONS, LINES: LINES // 2}.get(group.shape[-1], 1)
        of_kinds = group.reshape(*group.shape[:3], -1, around)
        found.append(np.roll(of_kinds, around // 2, axis=-1).reshape(group.shape))
    return np.concatenate(found, axis=-1)


def test_a_turned_image_has_turned_features():
    image = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    turned = np.ascontiguousarray(np.rot90(image, axes=(1, 2)))
    before, after = (
        np.asarray(compiled(each, levels=2, stride=1)) for each in (image, turned)
    )
    assert before.shape == (1, 32, 32, sum(group_sizes(2)))
    np.testing.assert_allclose(after, _quarter_turned(before), atol=1e-4)


def test_flat_images_show_no_structure():
    features = compiled(jnp.full((1, 32, 32, 3), 0.4), levels=1, stride=4)
    features = np.asarray(features)
    np.testing.assert_allclose(features[..., 0], 0.4, atol=1e-5)
    np.testing.assert_allclose(features[..., 3:], 1e-2, atol=1e-4)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_a_thin_line_is_strongest_in_its_own_direction(stride: int):
    image = np.full((1, 64, 64, 3), 0.5, np.float32)
    image[:, :, 32] = 0.7  # upright and bright
    features = compiled(image, levels=1, stride=stride)
    lines = np.asarray(features)[0, ..., 15 : 15 + LINES]
    across = 32 // stride
    upright, lying = LINES // 2, 3 * LINES // 4  # of the bright ones
    assert (lines[:, across].argmax(-1) == upright).all()
    assert lines[:, across, upright].min() > 5 * lines[:, across, lying].max()
    assert lines[:, 4 // stride, upright].max() < 0.02


def test_whitened_features_of_the_shots_are_uncorrelated_in_each_group():
    shots = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    config = MemoryBankConfig(levels=2)
    whitening = fit_feature_extractor(shots, config, stride=4).filters
    assert whitening is not None
    features = compiled(jnp.asarray(shots) / 255.0, levels=2, stride=4)
    flat = whitening(features).reshape(512, -1)
    colour = np.cov(np.asarray(flat)[:, :3], rowvar=False) * 3
    np.testing.assert_allclose(colour, np.eye(3), atol=0.1)
