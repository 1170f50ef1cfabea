"""Distances of images from a memory bank, anywhere and in the window."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.bank import build_memory_bank
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.filter_bank import group_sizes
from lfq_jax.memory_bank.map_channels import map_channels

CONFIG = MemoryBankConfig(levels=2, patches=200, window=1, poses=0)
GROUPS = len(group_sizes(CONFIG.levels))
compiled_maps = jax.jit(distance_maps_of, static_argnames=("config", "stride"))


def _stripes(seed: int, *, px: int = 32) -> np.ndarray:
    """A striped part with sensor noise."""
    rng = np.random.default_rng(seed)
    wave = 120 + 60 * np.sin(np.arange(px) * 1.3)
    image = np.broadcast_to(wave[None, :, None], (px, px, 3))
    return np.clip(image + rng.normal(0, 3, (px, px, 3)), 0, 255).astype(np.uint8)


def _distances(shots, image, *, is_texture=False, config=CONFIG) -> np.ndarray:
    """Of every cell of the image from a bank of the shots. [h w c]"""
    extractor = fit_feature_extractor(np.stack(shots), config, stride=4)
    bank = build_memory_bank(
        extractor, shots, config, stride=4, is_texture=is_texture, seed=0
    )
    unit = jnp.asarray(image[None]) / 255.0
    return np.asarray(compiled_maps(bank, unit, config=config, stride=4).distances[0])


def test_a_shot_is_at_no_distance_from_itself():
    shot = _stripes(0)
    everywhere = dataclasses.replace(CONFIG, patches=64)
    assert _distances([shot], shot, config=everywhere).max() < 0.05


@pytest.mark.parametrize("is_texture", [True, False])
def test_a_defect_is_far_from_the_shots_and_the_rest_is_near(is_texture: bool):
    image = _stripes(7)
    image[8:16, 12:20] = 250
    distances = _distances([_stripes(0), _stripes(1)], image, is_texture=is_texture)
    assert distances.shape[-1] == map_channels(CONFIG, is_texture=is_texture).distances
    inside, outside = distances[2:4, 3:5].mean(), distances[6:].mean()
    assert inside > 2 * outside


def test_a_part_moved_by_half_a_cell_is_as_near_as_one_moved_by_a_whole_cell():
    shot = np.full((32, 32, 3), 90, np.uint8)
    shot += np.random.default_rng(0).integers(0, 4, shot.shape, np.uint8)
    shot[8:19, 11:18] = 220

    def in_window(move: int) -> float:
        moved = np.roll(shot, (move, move), (0, 1))
        return _distances([shot], moved)[2:6, 2:6, GROUPS:].mean()

    assert in_window(2) < 1.2 * in_window(4)
    assert in_window(1) > 2 * in_window(2)  # between the two, it is farther


def test_a_rotated_part_is_nearer_to_shots_rotated_the_same_way():
    def part(turn_deg: float) -> np.ndarray:
        image = np.full((64, 64, 3), 90, np.uint8)
        image[28:36, 8:56] = 220
        turned = Image.fromarray(image).rotate(turn_deg, fillcolor=(90, 90, 90))
        noise = np.random.default_rng(0).integers(0, 4, image.shape, np.uint8)
        return np.asarray(turned) + noise

    def in_window(*turns_deg: float) -> float:
        config = dataclasses.replace(CONFIG, turns_deg=turns_deg)
        return _distances([part(0)], part(12), config=config)[..., GROUPS:].mean()

    assert in_window(12.0) < 0.6 * in_window()
    assert in_window(-12.0) > 0.8 * in_window()


def test_a_part_in_another_place_is_near_anywhere_and_far_in_the_window():
    shot = np.full((32, 32, 3), 90, np.uint8)
    shot += np.random.default_rng(0).integers(0, 4, shot.shape, np.uint8)
    moved = shot.copy()
    shot[4:12, 4:12] = 220
    moved[20:28, 20:28] = 220
    everywhere = dataclasses.replace(CONFIG, patches=64)
    distances = _distances([shot], moved, config=everywhere)
    anywhere, in_window = distances[5:7, 5:7, :GROUPS], distances[5:7, 5:7, GROUPS:]
    assert in_window.mean() > 2 * anywhere.mean()
