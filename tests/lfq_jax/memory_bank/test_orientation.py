"""How the grain of textures runs: what it tells, and what it must not."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import AugmentConfig, ModelConfig
from lfq_jax.memory_bank.bank import build_memory_bank
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.layout import channels, known_channels
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
from lfq_jax.training.leave_one_out import LeaveOneOut
from tests.tiny_detector import MODEL, tiny

PX = 160
GRID = (PX // 4, PX // 4)


def _ground(seed: int) -> np.ndarray:
    """A surface ground from left to right, in bytes."""
    noise = np.random.default_rng(seed).normal(0, 1, (PX, PX))
    along = np.stack([np.roll(noise, shift, axis=1) for shift in range(8)]).mean(0)
    grey = np.clip(110 + 50 * along, 0, 255)
    return np.repeat(grey[..., None], 3, -1).astype(np.uint8)


def _known(*seeds: int) -> Orientation:
    shots = [_ground(seed) for seed in seeds]
    others = [
        fit_orientation([s for s in shots if s is not shot], seed=0) for shot in shots
    ]
    good = [jnp.asarray(_noisy(shot, 0.01)) for shot in shots]
    mean, deviation = fit_orientation_statistics(others, good)
    memory = fit_orientation(shots, seed=0)
    return memory._replace(mean=mean, deviation=deviation)


def _noisy(image: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, 255 * deviation, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@jax.jit
def _strangeness(known: Orientation, unit: jax.Array) -> jax.Array:
    return orientation_deviation(known, unit, GRID)


def _strange(image: np.ndarray, known: Orientation) -> np.ndarray:
    return np.asarray(_strangeness(known, jnp.asarray(image) / 255.0))


def _across(image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """The image, in a part of it ground from top to bottom."""
    image = image.copy()
    image[rows, columns] = _ground(77).transpose(1, 0, 2)[rows, columns]
    return image


def _weighed(weight: float) -> ModelConfig:
    assert MODEL.memory_bank
    reference = dataclasses.replace(MODEL.memory_bank, orientation_weight=weight)
    return dataclasses.replace(MODEL, reference=reference)


def test_light_and_contrast_do_not_matter():
    unit = jnp.asarray(_ground(3)[None]) / 255.0
    described, of_paler = (
        np.asarray(describe_orientation(image)) for image in (unit, 0.2 + 0.8 * unit)
    )
    np.testing.assert_allclose(described, of_paler, atol=0.1)
    assert described.std() > 0.5
    assert described.shape == (1, PX // 16, PX // 16, 16)


def test_flat_images_run_nowhere():
    described = describe_orientation(jnp.full((1, PX, PX, 3), 0.4))
    np.testing.assert_allclose(described, 0, atol=1e-3)


def test_a_region_that_was_ground_otherwise_is_strange_and_the_rest_is_not():
    known = _known(0, 1, 2)
    image = _across(_ground(5), slice(0, PX), slice(0, 80))
    found = _strange(image, known)
    assert found.shape == GRID
    assert found[:, 2:14].min() > 0.9
    assert found[:, 28:].mean() < 0.5
    assert np.abs(found).max() <= 1


def test_good_parts_are_about_as_strange_as_the_shots_are_to_each_other():
    known = _known(0, 1, 2)
    found = [_strange(_ground(seed), known).mean() for seed in range(10, 14)]
    assert np.abs(found).max() < 0.5
    noisy = _strange(_noisy(_ground(10), 0.01), known).mean()
    assert abs(noisy - found[0]) < 0.3


def test_a_peak_narrower_than_three_cells_is_taken_off_and_a_wider_one_is_kept():
    cells = np.zeros((9, 9), np.float32)
    cells[1:3, 1:9] = 1  # two cells wide
    assert not np.any(grey_opening(jnp.asarray(cells)))
    cells[5:8, 0:3] = 2
    wide = np.zeros_like(cells)
    wide[5:8, 0:3] = 2
    np.testing.assert_array_equal(grey_opening(jnp.asarray(cells)), wide)
    at_border = np.zeros_like(cells)
    at_border[0:2] = 1  # goes on beyond it, as far as anybody knows
    np.testing.assert_array_equal(grey_opening(jnp.asarray(at_border)), at_border)


def test_a_single_shot_does_not_show_what_is_strange():
    preparation = LeaveOneOut(MODEL, AugmentConfig(), is_texture=True, seed=0)
    memory = preparation.memory(np.ascontiguousarray(_ground(0)[None, :32, :32]))
    assert memory is not None and memory.orientation is not None
    other = _across(_ground(4), slice(0, PX), slice(0, PX))
    assert not _strange(other, memory.orientation).any()


def test_it_is_added_to_the_map_of_textures_and_to_no_image_score():
    saved, _, images = tiny(kind="texture")
    assert saved.variables.memory_bank and saved.variables.memory_bank.orientation
    one, other = (
        Scorer(Model(_weighed(weight)), saved.score)(saved.variables, images)
        for weight in (1e-9, 1.0)
    )
    for name, scores in one.scores.items():
        np.testing.assert_array_equal(scores, other.scores[name])
    assert np.abs(one.maps - other.maps).max() > 1e-3


def test_about_what_was_found_grain_says_less_and_elsewhere_as_much_as_before():
    probability = np.zeros((2, 64, 80), np.float32)
    probability[1, 30, 41] = 0.75
    says = np.asarray(unexplained_share(jnp.asarray(probability), 4))
    assert says.shape == (2, 16, 20)
    assert (says[0] == 1).all()
    expected = np.ones((16, 20))
    expected[3:12, 6:15] = 0.25  # its own cell, and 16 pixels to either side
    np.testing.assert_array_equal(says[1], expected)


def test_grain_moves_the_map_where_nothing_was_found_and_not_where_a_defect_was():
    saved, _, images = tiny(kind="texture")
    unit = jnp.asarray(images, jnp.float32) / 255.0

    def moved(bias: float) -> float:
        reader = saved.variables.logistic_head
        assert reader is not None
        biased = reader._replace(bias=jnp.float32(bias))
        variables = saved.variables._replace(reader=biased)
        found = [
            Model(_weighed(weight)).apply(variables, unit, training=False)[0].logits
            for weight in (1e-9, 1.0)
        ]
        change = np.diff(found[1] - found[0], axis=-1)
        return float(np.abs(change).max())

    assert 0.1 < moved(-20.0) < 1.001  # rounded
    assert moved(20.0) < 1e-3


@pytest.mark.parametrize(("kind", "weight"), [("object", 1.0), ("texture", 0.0)])
def test_of_objects_and_without_a_weight_nothing_is_remembered(
    kind: Literal["object", "texture"], weight: float
):
    is_texture = kind == "texture"
    config = _weighed(weight)
    assert config.memory_bank
    known = known_channels(config.memory_bank, is_texture=is_texture)
    assert known == channels(config.memory_bank, is_texture=is_texture)
    images = np.random.default_rng(0).integers(60, 190, (2, 32, 32, 3), np.uint8)
    sight = fit_feature_extractor(images, config.memory_bank, stride=4)
    memory = build_memory_bank(
        sight, [*images], config.memory_bank, stride=4, is_texture=is_texture, seed=0
    )
    assert memory.orientation is None
