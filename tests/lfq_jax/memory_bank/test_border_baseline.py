"""The border baseline: how much farther good parts are near the border."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import AugmentConfig, MemoryBankConfig, ModelConfig
from lfq_jax.memory_bank.bank import MemoryBank
from lfq_jax.memory_bank.border_baseline import fit_border_baseline
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.leave_one_out import leave_one_out
from lfq_jax.training.random_streams import random_streams

CONFIG = MemoryBankConfig(levels=2, patches=200, window=1, poses=0)
MODEL = ModelConfig(
    image_px=64,
    stem=4,
    reconstructive_widths=(8, 12),
    discriminative_widths=(8, 12),
    memory_bank=CONFIG,
)

compiled_maps = jax.jit(distance_maps_of, static_argnames=("config", "stride"))


def test_the_baseline_is_the_distance_at_the_border_less_that_inside():
    distances = np.full((3, 40, 36, 2), 0.5)
    for border in (distances[:, 0], distances[:, -1]):
        border[...] = (0.9, 0.4)
    for border in (distances[:, :, 0], distances[:, :, -1]):
        border[...] = (0.9, 0.4)
    baseline = np.asarray(fit_border_baseline(distances))
    np.testing.assert_allclose(baseline[0], (0.4, -0.1), atol=1e-6)
    np.testing.assert_allclose(baseline[1:], 0, atol=1e-6)
    assert len(baseline) == 17


@pytest.mark.parametrize("is_texture", [True, False])
def test_the_border_of_a_good_texture_is_no_farther_than_its_middle(is_texture: bool):
    rng = np.random.default_rng(0)
    images = rng.integers(60, 190, (12, 64, 64, 3), np.uint8)
    others = leave_one_out(
        fit_feature_extractor(images[:4], CONFIG, stride=4),
        images[:4],
        model=Model(MODEL, is_texture=is_texture),
        augment=AugmentConfig(),
        streams=random_streams(0),
    )
    bank = others.full_bank(0)
    if not is_texture:  # distances near the border describe the part itself
        assert bank.border_baseline is None
        return

    def difference(bank: MemoryBank) -> float:
        unit = jnp.asarray(images[4:]) / 255.0
        maps = compiled_maps(bank, unit, config=CONFIG, stride=4)
        distances = np.asarray(maps.distances)
        border = np.concatenate([distances[:, 0], distances[:, -1]]).mean()
        return abs(border - distances[:, 4:-4, 4:-4].mean())

    assert bank.border_baseline is not None
    without = bank._replace(border_baseline=jnp.zeros_like(bank.border_baseline))
    assert difference(bank) < 0.5 * difference(without)
