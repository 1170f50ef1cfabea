"""The filter bank, the patch memory, and what they say of an image."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lfq_jax.config import AugmentConfig, MemoryBankConfig, ModelConfig
from lfq_jax.memory_bank.bank import MemoryBank, build_memory_bank
from lfq_jax.memory_bank.border_normalizer import fit_border_baseline
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.filter_bank import (
    LINES,
    ORIENTATIONS,
    STRUCTURES,
    describe,
    group_sizes,
)
from lfq_jax.memory_bank.layout import channels
from lfq_jax.training.augmentation import augment
from lfq_jax.training.data import Photographs, Sample, TrainingData
from lfq_jax.training.leave_one_out import LeaveOneOut
from lfq_jax.training.sampling import crop, draw

CONFIG = MemoryBankConfig(levels=2, patches=200, window=1, poses=0)
MODEL = ModelConfig(
    image_px=32,
    stem=4,
    reconstructive_widths=(8, 12),
    discriminative_widths=(8, 12),
    reference=CONFIG,
)


def _stripes(seed: int, *, px: int = 32) -> np.ndarray:
    """A striped part with sensor noise."""
    rng = np.random.default_rng(seed)
    wave = 120 + 60 * np.sin(np.arange(px) * 1.3)
    image = np.broadcast_to(wave[None, :, None], (px, px, 3))
    return np.clip(image + rng.normal(0, 3, (px, px, 3)), 0, 255).astype(np.uint8)


def _compared(shots, image, *, is_texture=False, config=CONFIG):
    sight = fit_feature_extractor(np.stack(shots), config, stride=4)
    memory = build_memory_bank(
        sight, shots, config, stride=4, is_texture=is_texture, seed=0
    )
    unit = jnp.asarray(image[None]) / 255.0
    found = np.asarray(distance_maps_of(memory, unit, config, stride=4))[0]
    return found[..., : channels(config, is_texture=is_texture)]


def _photographs(count: int = 6, shots: int = 2) -> Photographs:
    normals = np.stack([_stripes(i) for i in range(shots)])
    sources = np.arange(count, dtype=np.int32) % shots
    images, masks = normals[sources].copy(), np.zeros((count, 32, 32), np.uint8)
    masks[:, 8:16, 12:20] = 1
    images[masks > 0] = 250
    return Photographs(normals, images, masks, sources)


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
        np.asarray(describe(jnp.asarray(each), levels=2, stride=1))
        for each in (image, turned)
    )
    assert before.shape == (1, 32, 32, sum(group_sizes(2)))
    np.testing.assert_allclose(after, _quarter_turned(before), atol=1e-4)


def test_flat_images_show_no_structure():
    features = describe(jnp.full((1, 32, 32, 3), 0.4), levels=1, stride=4)
    np.testing.assert_allclose(features[..., 0], 0.4, atol=1e-5)
    np.testing.assert_allclose(features[..., 3:], 1e-2, atol=1e-4)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_a_thin_line_is_strongest_in_its_own_direction(stride: int):
    image = np.full((1, 64, 64, 3), 0.5, np.float32)
    image[:, :, 32] = 0.7  # upright and bright
    features = describe(jnp.asarray(image), levels=1, stride=stride)
    lines = np.asarray(features[0, ..., 15 : 15 + LINES])
    across = 32 // stride
    upright, lying = LINES // 2, 3 * LINES // 4  # of the bright ones
    assert (lines[:, across].argmax(-1) == upright).all()
    assert lines[:, across, upright].min() > 5 * lines[:, across, lying].max()
    assert lines[:, 4 // stride, upright].max() < 0.02


def test_whitened_features_of_the_shots_are_uncorrelated_in_each_group():
    shots = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    whitening = fit_feature_extractor(shots, CONFIG, stride=4).filters
    features = describe(jnp.asarray(shots) / 255.0, levels=2, stride=4)
    flat = whitening(features).reshape(512, -1)
    colour = np.cov(np.asarray(flat)[:, :3], rowvar=False) * 3
    np.testing.assert_allclose(colour, np.eye(3), atol=0.1)


def test_a_shot_is_at_no_distance_from_itself():
    shot = _stripes(0)
    everywhere = dataclasses.replace(CONFIG, patches=64)
    assert _compared([shot], shot, config=everywhere).max() < 0.05


@pytest.mark.parametrize("is_texture", [True, False])
def test_a_defect_is_far_from_the_shots_and_the_rest_is_near(is_texture: bool):
    image = _stripes(7)
    image[8:16, 12:20] = 250
    found = _compared([_stripes(0), _stripes(1)], image, is_texture=is_texture)
    assert found.shape[-1] == channels(CONFIG, is_texture=is_texture)
    inside, outside = found[2:4, 3:5].mean(), found[6:].mean()
    assert inside > 2 * outside


def test_a_part_moved_by_half_a_cell_is_as_near_as_one_moved_by_a_whole_one():
    shot = np.full((32, 32, 3), 90, np.uint8)
    shot += np.random.default_rng(0).integers(0, 4, shot.shape, np.uint8)
    shot[8:19, 11:18] = 220
    groups = len(group_sizes(CONFIG.levels))

    def in_place(move: int) -> float:
        moved = np.roll(shot, (move, move), (0, 1))
        return _compared([shot], moved)[2:6, 2:6, groups:].mean()

    assert in_place(2) < 1.2 * in_place(4)
    assert in_place(1) > 2 * in_place(2)  # between the two it is farther


def test_a_part_that_lies_askew_is_nearer_to_the_shots_turned():
    def part(turn_deg: float) -> np.ndarray:
        image = np.full((64, 64, 3), 90, np.uint8)
        image[28:36, 8:56] = 220
        turned = Image.fromarray(image).rotate(turn_deg, fillcolor=(90, 90, 90))
        noise = np.random.default_rng(0).integers(0, 4, image.shape, np.uint8)
        return np.asarray(turned) + noise

    def in_place(*turns_deg: float) -> float:
        config = dataclasses.replace(CONFIG, turns_deg=turns_deg)
        groups = len(group_sizes(config.levels))
        return _compared([part(0)], part(12), config=config)[..., groups:].mean()

    assert in_place(12.0) < 0.6 * in_place()
    assert in_place(-12.0) > 0.8 * in_place()


def test_usual_distances_are_those_of_the_border_beyond_those_of_the_middle():
    found = np.full((3, 40, 36, 2), 0.5)
    found[:, 0] = found[:, -1] = found[:, :, 0] = found[:, :, -1] = (0.9, 0.4)
    usual = np.asarray(fit_border_baseline(found))
    np.testing.assert_allclose(usual[0], (0.4, -0.1), atol=1e-6)
    np.testing.assert_allclose(usual[1:], 0, atol=1e-6)
    assert len(usual) == 17


@pytest.mark.parametrize("is_texture", [True, False])
def test_the_border_of_a_good_texture_is_no_farther_than_its_middle(is_texture: bool):
    rng = np.random.default_rng(0)
    images = rng.integers(60, 190, (12, 64, 64, 3), np.uint8)
    config = dataclasses.replace(MODEL, image_px=64)
    preparation = LeaveOneOut(config, AugmentConfig(), is_texture=is_texture, seed=0)
    memory = preparation.memory(images[:4])
    assert memory is not None
    if not is_texture:
        assert memory.usual is None  # there it tells of the part
        return

    def beyond(memory: MemoryBank) -> float:
        unit = jnp.asarray(images[4:]) / 255.0
        found = np.asarray(distance_maps_of(memory, unit, CONFIG, stride=4))
        found = found[..., : channels(CONFIG, is_texture=True)]
        border = np.concatenate([found[:, 0], found[:, -1]]).mean()
        return abs(border - found[:, 4:-4, 4:-4].mean())

    assert beyond(memory) < 0.5 * beyond(memory._replace(usual=None))


def test_what_stands_in_another_place_is_near_anywhere_and_far_in_place():
    shot = np.full((32, 32, 3), 90, np.uint8)
    shot += np.random.default_rng(0).integers(0, 4, shot.shape, np.uint8)
    moved = shot.copy()
    shot[4:12, 4:12] = 220
    moved[20:28, 20:28] = 220
    everywhere = dataclasses.replace(CONFIG, patches=64)
    found = _compared([shot], moved, config=everywhere)
    groups = len(group_sizes(CONFIG.levels))
    anywhere, in_place = found[5:7, 5:7, :groups], found[5:7, 5:7, groups:]
    assert in_place.mean() > 2 * anywhere.mean()


def test_training_compares_an_image_with_the_shots_it_was_not_made_from():
    data = _photographs()
    preparation = LeaveOneOut(MODEL, AugmentConfig(), is_texture=False, seed=0)
    ready = preparation.training(data, good=4)
    expected = channels(CONFIG, is_texture=False)
    assert ready.anomalous.distance_maps.shape == (6, 8, 8, expected)
    # Against itself a good part would be at distance 0.
    assert float(ready.good.distance_maps.mean()) > 0.05
    inside = ready.anomalous.distance_maps[:, 2:4, 3:5].mean()
    assert float(inside) > 2 * float(ready.good.distance_maps.mean())


def test_a_single_shot_is_compared_with_varied_copies_of_itself():
    preparation = LeaveOneOut(
        MODEL, AugmentConfig(noise=0.02, brightness=0.05), is_texture=True, seed=0
    )
    ready = preparation.training(_photographs(shots=1), good=2)
    assert float(ready.good.distance_maps.mean()) > 0.01
    assert bool(jnp.isfinite(ready.anomalous.distance_maps).all())


def test_what_is_known_of_the_shots_need_not_be_found_again():
    data = _photographs()
    preparation = LeaveOneOut(MODEL, AugmentConfig(), is_texture=True, seed=0)
    others = preparation.others(data.normals)
    pairs = (
        (preparation.validation(data), preparation.validation(data, others=others)),
        (
            preparation.memory(data.normals),
            preparation.memory(data.normals, others=others),
        ),
    )
    for found, known in pairs:
        same = zip(jax.tree.leaves(found), jax.tree.leaves(known), strict=True)
        assert all(np.array_equal(a, b) for a, b in same)


def test_preparation_is_the_same_every_time():
    augment_config = AugmentConfig(noise=0.02, shift=0.05, contrast=0.1)
    preparation = LeaveOneOut(MODEL, augment_config, is_texture=True, seed=3)
    one, two = (preparation.training(_photographs(), good=3) for _ in range(2))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("turns", ["auto", "always"])
@pytest.mark.parametrize("flips", ["auto", "none"])
def test_grain_is_compared_with_grain_that_runs_as_it_does(turns: Any, flips: Any):
    config = AugmentConfig(quarter_turns=turns, flips=flips)
    preparation = LeaveOneOut(MODEL, config, is_texture=True, seed=3)
    good = preparation.training(_photographs(), good=24).good
    distances = np.asarray(good.distance_maps, np.float32)
    distances = distances[..., : channels(CONFIG, is_texture=True)]
    typical = np.median(distances, axis=(1, 2)).max(-1)
    assert typical.max() < 2 * typical.min()
    memory = preparation.memory(_photographs().normals)
    assert memory
    across = jnp.asarray(np.rot90(_stripes(9))[None]) / 255.0
    found = np.asarray(distance_maps_of(memory, across, CONFIG, stride=4))
    found = found[..., : distances.shape[-1]]
    is_near = np.median(found, axis=(1, 2)).max() < 2 * typical.max()
    assert is_near == (turns == "always")


def _sample() -> Sample:
    """A sample whose planes agree about where the anomaly is."""
    mask = np.zeros((32, 32), np.float32)
    mask[16:20, 24:28] = 1
    image = np.repeat(mask[..., None], 3, -1)
    reference = mask.reshape(8, 4, 8, 4).max((1, 3))[..., None]
    return Sample(*map(jnp.asarray, (image, image, mask, reference)))


def test_crops_keep_image_mask_and_reference_together():
    keys = jax.random.split(jax.random.key(0), 64)
    crops = jax.vmap(lambda key: crop(_sample(), key, 16))(keys)
    assert crops.mask.shape == (64, 16, 16)
    np.testing.assert_array_equal(crops.image[..., 0], crops.mask)
    coarse = crops.mask.reshape(64, 4, 4, 4, 4).max((2, 4))
    np.testing.assert_array_equal(crops.distance_maps[..., 0], coarse)
    share = float(crops.mask.any((1, 2)).mean())
    assert 0.6 < share < 1


def test_mirrors_and_turns_keep_image_mask_and_reference_together():
    config = AugmentConfig(flips="both", quarter_turns="always")
    for i in range(8):
        turned = augment(_sample(), jax.random.key(i), config=config, is_texture=True)
        coarse = turned.mask.reshape(8, 4, 8, 4).max((1, 3))
        np.testing.assert_array_equal(turned.distance_maps[..., 0], coarse)


def test_draws_hold_the_asked_share_of_anomalies():
    preparation = LeaveOneOut(
        dataclasses.replace(MODEL, memory_bank=None),
        AugmentConfig(),
        is_texture=False,
        seed=0,
    )
    data: TrainingData = preparation.training(_photographs(), good=2)
    keys = jax.random.split(jax.random.key(1), 200)
    drawn = jax.vmap(lambda key: draw(data, key, anomalous_share=0.8))(keys)
    share = float(drawn.mask.any((1, 2)).mean())
    assert 0.7 < share < 0.9


@pytest.mark.parametrize(
    ("field", "value"),
    [("levels", 0), ("patches", 0), ("window", 9), ("orientation_weight", -1.0)],
)
def test_a_reference_that_cannot_work_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=f"{field} must be in .*got {value}"):
        MemoryBankConfig(**{field: value})  # type: ignore[arg-type]
