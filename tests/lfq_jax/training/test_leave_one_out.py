"""Every photograph is compared with the shots that it was not made from."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import AugmentConfig, MemoryBankConfig, ModelConfig
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.augmentation import vary
from lfq_jax.training.data import Photographs, TrainingData, anomalous_samples
from lfq_jax.training.leave_one_out import LeaveOneOut, _measure, leave_one_out
from lfq_jax.training.random_streams import random_streams

CONFIG = MemoryBankConfig(levels=2, patches=200, window=1, poses=0)
MODEL = ModelConfig(
    image_px=32,
    stem=4,
    reconstructive_widths=(8, 12),
    discriminative_widths=(8, 12),
    memory_bank=CONFIG,
)

compiled_maps = jax.jit(distance_maps_of, static_argnames=("config", "stride"))


def _stripes(seed: int) -> np.ndarray:
    """A striped part with sensor noise."""
    rng = np.random.default_rng(seed)
    wave = 120 + 60 * np.sin(np.arange(32) * 1.3)
    image = np.broadcast_to(wave[None, :, None], (32, 32, 3))
    return np.clip(image + rng.normal(0, 3, (32, 32, 3)), 0, 255).astype(np.uint8)


def _photographs(count: int = 6, shots: int = 2) -> Photographs:
    normals = np.stack([_stripes(i) for i in range(shots)])
    sources = np.arange(count, dtype=np.int32) % shots
    images, masks = normals[sources].copy(), np.zeros((count, 32, 32), np.uint8)
    masks[:, 8:16, 12:20] = 1
    images[masks > 0] = 250
    return Photographs(normals, images, masks, sources)


def _others(
    shots: np.ndarray, augment: AugmentConfig, *, is_texture: bool, seed: int = 0
) -> LeaveOneOut:
    return leave_one_out(
        fit_feature_extractor(shots, CONFIG, stride=4),
        shots,
        model=Model(MODEL, is_texture=is_texture),
        augment=augment,
        streams=random_streams(seed),
    )


def _measured(others: LeaveOneOut, data: Photographs, *, good: int) -> TrainingData:
    """What a training draws from."""
    streams = random_streams(0)
    varied = vary(
        anomalous_samples(data, stride=4),
        streams.training_anomalies,
        others.variation,
        is_texture=others.model.is_texture,
    )
    return TrainingData(
        others.measure(varied, data.sources, for_steps=True),
        others.held_out_variations(good, streams.training_good, for_steps=True),
    )


def test_an_image_is_compared_with_the_shots_it_was_not_made_from():
    data = _photographs()
    others = _others(data.normals, AugmentConfig(), is_texture=False)
    ready = _measured(others, data, good=4)
    for samples, count in ((ready.anomalous, 6), (ready.good, 4)):
        shapes = [field.shape for field in samples.distance_maps]
        assert shapes == [(count, 8, 8, c) for c in others.model.map_channels]
        assert all(field.dtype == jnp.float16 for field in samples.distance_maps)
    # Against itself a good part would be at distance 0.
    good = float(ready.good.distance_maps.distances.mean())
    assert good > 0.05
    inside = ready.anomalous.distance_maps.distances[:, 2:4, 3:5].mean()
    assert float(inside) > 2 * good


def test_each_half_of_a_single_texture_is_compared_with_the_other_half():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (1, 8, 8, 3), np.uint8)
    shot = blocks.repeat(4, 1).repeat(4, 2)
    augment = AugmentConfig(quarter_turns="always")
    others = _others(shot, augment, is_texture=True)
    assert others.compares_halves and len(others.banks) == 2
    as_it_is, swapped = (
        anomalous_samples(
            Photographs(shot, image, np.zeros((1, 32, 32), np.uint8), np.zeros(1, int)),
            stride=4,
        )
        for image in (shot, np.roll(shot, 16, axis=2))
    )
    far, near = (
        np.asarray(others.measure(samples, np.zeros(1, int), for_steps=False)[-1][0][0])
        for samples in (as_it_is, swapped)
    )
    # Where the halves change places, each is compared with itself. Cells at their
    # edges, and coarse features, see other neighbours.
    inner = np.s_[2:6, [1, 2, 5, 6], :3]
    assert near[inner].mean() < 0.3 * far[inner].mean()
    mirrored = others.held_out_variations(16, jax.random.key(0)).images
    assert np.abs(np.asarray(mirrored, np.int32) - shot).max() <= 1


def test_a_single_object_is_compared_with_varied_copies_of_itself():
    data = _photographs(shots=1)
    augment = AugmentConfig(noise=0.02, brightness=0.05)
    others = _others(data.normals, augment, is_texture=False)
    ready = _measured(others, data, good=2)
    assert float(ready.good.distance_maps.distances.mean()) > 0.01
    for field in ready.anomalous.distance_maps:
        assert bool(jnp.isfinite(field).all())


@pytest.mark.parametrize(
    ("turns", "flips"),
    [
        ("auto", "auto"),
        ("always", "none"),
        pytest.param("auto", "none", marks=pytest.mark.slow),
        pytest.param("always", "auto", marks=pytest.mark.slow),
    ],
)
def test_grain_is_compared_with_grain_of_the_same_direction(turns: Any, flips: Any):
    augment = AugmentConfig(quarter_turns=turns, flips=flips)
    shots = _photographs().normals
    others = _others(shots, augment, is_texture=True, seed=3)
    good = others.held_out_variations(24, random_streams(3).training_good)
    distances = np.asarray(good.distance_maps.distances, np.float32)
    typical = np.median(distances, axis=(1, 2)).max(-1)
    assert typical.max() < 2 * typical.min()
    across = jnp.asarray(np.rot90(_stripes(9))[None]) / 255.0
    maps = compiled_maps(others.full_bank(3), across, config=CONFIG, stride=4)
    median = np.median(np.asarray(maps.distances), axis=(1, 2))
    is_near = median.max() < 2 * typical.max()
    assert is_near == (turns == "always")


def test_steps_may_donate_the_full_bank_without_losing_the_extractor():
    """Training donates its state, and the extractor is used again for calibration."""
    shots = _photographs().normals
    others = _others(shots, AugmentConfig(), is_texture=False)
    jax.tree.map(lambda x: x.delete(), others.full_bank(0))
    others.held_out_variations(1, jax.random.key(0))


def test_turned_copies_of_long_textures_are_in_the_bank():
    shots = np.stack([np.tile(_stripes(i), (1, 2, 1)) for i in range(2)])
    model = dataclasses.replace(MODEL, image_px=48, size_px=(32, 64))
    turned = jnp.asarray(np.rot90(shots[0])[None] / 255.0)

    def distance(turns: Any) -> float:
        """Of a turned shot from the bank of all shots."""
        others = leave_one_out(
            fit_feature_extractor(shots, CONFIG, stride=4),
            shots,
            model=Model(model, is_texture=True),
            augment=AugmentConfig(flips="none", quarter_turns=turns),
            streams=random_streams(0),
        )
        maps = compiled_maps(others.full_bank(0), turned, config=CONFIG, stride=4)
        assert maps.distances.shape[1:3] == (16, 8)
        return float(maps.distances.mean())

    assert distance("always") < 0.7 * distance("never")


def test_a_texture_is_compared_by_one_program_before_and_after_it_is_normalized():
    shots = _photographs().normals
    measure: Any = _measure
    compiled = measure._cache_size()
    others = _others(shots, AugmentConfig(contrast=0.01), is_texture=True)
    others.held_out_variations(8, jax.random.key(0))
    assert others.normalizer is not None
    assert np.any(others.normalizer.border_baseline)
    assert measure._cache_size() <= compiled + 1
