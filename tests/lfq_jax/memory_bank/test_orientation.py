"""The orientation of textures' grain: what it detects, and what it must ignore."""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import AugmentConfig, ModelConfig
from lfq_jax.memory_bank.bank import build_memory_bank
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.map_channels import MapChannels, map_channels
from lfq_jax.memory_bank.orientation import (
    Orientation,
    describe_orientation,
    fit_orientation,
    fit_orientation_statistics,
    grey_opening,
    orientation_deviation,
)
from lfq_jax.model.fusion import unexplained_share
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer
from lfq_jax.training.leave_one_out import leave_one_out
from lfq_jax.training.random_streams import random_streams
from tests.tiny_detector import MODEL, tiny

PX = 160
GRID = (PX // 4, PX // 4)


def _ground(seed: int) -> np.ndarray:
    """A surface ground from left to right, in bytes."""
    noise = np.random.default_rng(seed).normal(0, 1, (PX, PX))
    along = np.stack([np.roll(noise, shift, axis=1) for shift in range(8)]).mean(0)
    grey = np.clip(110 + 50 * along, 0, 255)
    return np.repeat(grey[..., None], 3, -1).astype(np.uint8)


def _fitted(*seeds: int) -> Orientation:
    """Fitted to ground surfaces, one for each seed."""
    shots = [_ground(seed) for seed in seeds]
    others = [
        fit_orientation([s for s in shots if s is not shot], seed=0) for shot in shots
    ]
    good = [jnp.asarray(_noisy(shot, 0.01)) for shot in shots]
    mean, deviation = fit_orientation_statistics(others, good)
    orientation = fit_orientation(shots, seed=0)
    return orientation._replace(mean=mean, deviation=deviation)


def _noisy(image: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, 255 * deviation, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@jax.jit
def _compiled_deviation(orientation: Orientation, unit: jax.Array) -> jax.Array:
    return orientation_deviation(orientation, unit, GRID)


def _deviation(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    return np.asarray(_compiled_deviation(orientation, jnp.asarray(image) / 255.0))


def _across(image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """The image, in a part of it ground from top to bottom."""
    image = image.copy()
    image[rows, columns] = _ground(77).transpose(1, 0, 2)[rows, columns]
    return image


def _weighted(weight: float) -> ModelConfig:
    assert MODEL.memory_bank
    bank = dataclasses.replace(MODEL.memory_bank, orientation_weight=weight)
    return dataclasses.replace(MODEL, memory_bank=bank)


def test_light_and_contrast_do_not_matter():
    unit = jnp.asarray(_ground(3)[None]) / 255.0
    described, of_paler = (
        np.asarray(describe_orientation(image)) for image in (unit, 0.2 + 0.8 * unit)
    )
    np.testing.assert_allclose(described, of_paler, atol=0.1)
    assert described.std() > 0.5
    assert described.shape == (1, PX // 16, PX // 16, 16)


def test_flat_images_have_no_orientation():
    described = describe_orientation(jnp.full((1, PX, PX, 3), 0.4))
    np.testing.assert_allclose(described, 0, atol=1e-3)


def test_a_region_ground_in_another_direction_deviates_and_the_rest_does_not():
    fitted = _fitted(0, 1, 2)
    image = _across(_ground(5), slice(0, PX), slice(0, 80))
    found = _deviation(image, fitted)
    assert found.shape == GRID
    assert found[:, 2:14].min() > 0.9
    assert found[:, 28:].mean() < 0.5
    assert np.abs(found).max() <= 1


def test_good_parts_deviate_about_as_much_as_the_shots_from_each_other():
    fitted = _fitted(0, 1, 2)
    found = [_deviation(_ground(seed), fitted).mean() for seed in range(10, 14)]
    assert np.abs(found).max() < 0.5
    noisy = _deviation(_noisy(_ground(10), 0.01), fitted).mean()
    assert abs(noisy - found[0]) < 0.3


def test_a_peak_narrower_than_three_cells_is_removed_and_a_wider_one_is_kept():
    cells = np.zeros((9, 9), np.float32)
    cells[1:3, 1:9] = 1  # two cells wide
    assert not np.any(grey_opening(jnp.asarray(cells)))
    cells[5:8, 0:3] = 2
    wide = np.zeros_like(cells)
    wide[5:8, 0:3] = 2
    np.testing.assert_array_equal(grey_opening(jnp.asarray(cells)), wide)
    at_border = np.zeros_like(cells)
    at_border[0:2] = 1  # may continue beyond the border
    np.testing.assert_array_equal(grey_opening(jnp.asarray(at_border)), at_border)


def test_a_single_shot_fits_no_deviation():
    shots = np.ascontiguousarray(_ground(0)[None, :32, :32])
    assert MODEL.memory_bank is not None
    others = leave_one_out(
        fit_feature_extractor(shots, MODEL.memory_bank, stride=MODEL.stem),
        shots,
        model=Model(MODEL, is_texture=True),
        augment=AugmentConfig(),
        streams=random_streams(0),
    )
    bank = others.full_bank(0)
    assert bank.orientation is not None
    other = _across(_ground(4), slice(0, PX), slice(0, PX))
    assert not _deviation(other, bank.orientation).any()


def test_orientation_changes_the_map_of_textures_and_no_image_score():
    saved, _, images = tiny(kind="texture")
    assert saved.variables.memory_bank and saved.variables.memory_bank.orientation
    one, other = (
        Scorer(Model(_weighted(weight)), saved.score)(saved.variables, images)
        for weight in (1e-9, 1.0)
    )
    for name, scores in one.scores.items():
        np.testing.assert_array_equal(scores, other.scores[name])
    assert np.abs(one.maps - other.maps).max() > 1e-3


def test_orientation_counts_less_within_16_px_of_a_detected_defect():
    probability = np.zeros((2, 64, 80), np.float32)
    probability[1, 30, 41] = 0.75
    share = np.asarray(unexplained_share(jnp.asarray(probability), 4))
    assert share.shape == (2, 16, 20)
    assert (share[0] == 1).all()
    expected = np.ones((16, 20))
    expected[3:12, 6:15] = 0.25  # its own cell, and 16 pixels to either side
    np.testing.assert_array_equal(share[1], expected)


def test_orientation_changes_the_map_unless_a_defect_was_detected():
    saved, _, images = tiny(kind="texture")
    unit = jnp.asarray(images, jnp.float32) / 255.0
    without, weighted = (
        jax.jit(functools.partial(Model(_weighted(weight)).apply, training=False))
        for weight in (1e-9, 1.0)
    )

    def moved(bias: float) -> float:
        head = saved.variables.logistic_head
        assert head is not None
        biased = head._replace(bias=jnp.float32(bias))
        variables = saved.variables._replace(logistic_head=biased)
        logits = [apply(variables, unit)[0].logits for apply in (without, weighted)]
        change = np.diff(logits[1] - logits[0], axis=-1)
        return float(np.abs(change).max())

    assert 0.1 < moved(-20.0) < 1.001  # rounded
    assert moved(20.0) < 1e-3


@pytest.mark.parametrize(("kind", "weight"), [("object", 1.0), ("texture", 0.0)])
def test_no_orientation_is_stored_for_objects_or_without_a_weight(
    kind: Literal["object", "texture"], weight: float
):
    is_texture = kind == "texture"
    config = _weighted(weight).memory_bank
    assert config
    channels = map_channels(config, is_texture=is_texture)
    assert channels.distances > 0
    assert channels._replace(distances=0) == MapChannels()
    images = np.random.default_rng(0).integers(60, 190, (2, 32, 32, 3), np.uint8)
    extractor = fit_feature_extractor(images, config, stride=4)
    bank = build_memory_bank(
        extractor, [*images], config, stride=4, is_texture=is_texture, seed=0
    )
    assert bank.orientation is None
