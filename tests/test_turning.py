"""Turning images, and finding the turn in which a part lies."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.bank import MemoryBank, build_memory_bank
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import extract, fit_feature_extractor
from lfq_jax.memory_bank.pose_search import STEP_DEG, Poses, build_poses, find_poses
from lfq_jax.ops.rotation import _origins, inside, rotate, rotate_image


def _picture(px: int = 48) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (px // 8, px // 8, 3), np.uint8)
    image = Image.fromarray(small).resize((px, px), Image.Resampling.BICUBIC)
    return np.asarray(image)


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, -90.0, 133.0])
def test_both_ways_of_turning_give_the_same_image(turn_deg):
    image = _picture()
    pillow = rotate_image(image, turn_deg).astype(np.float64) / 255
    ours = np.asarray(rotate(jnp.asarray(image) / 255.0, jnp.asarray(turn_deg)))
    middle = slice(12, 36)  # Pillow pads less than a mirror has
    np.testing.assert_allclose(ours[middle, middle], pillow[middle, middle], atol=0.02)


def test_a_turn_is_counter_clockwise_and_a_turn_back_undoes_it():
    image = np.zeros((33, 33, 1), np.float32)
    image[16, 26] = 1.0  # on the right
    up = np.asarray(rotate(jnp.asarray(image), jnp.asarray(90.0), is_map=True))
    assert np.unravel_index(up.argmax(), up.shape)[:2] == (6, 16)
    back = np.asarray(rotate(jnp.asarray(up), jnp.asarray(-90.0), is_map=True))
    np.testing.assert_allclose(back, image, atol=1e-4)


@pytest.mark.parametrize("turn_deg", [-55.0, 0.0, 90.0, 355.0])
def test_no_rounding_moves_a_cell_to_the_next(turn_deg):
    """Where cells come from is a whole number of small steps, near the true place."""
    found = _origins(256, 200, jnp.asarray(turn_deg))
    angle = np.deg2rad(turn_deg)
    y, x = np.mgrid[:256, :200] - np.array([127.5, 99.5])[:, None, None]
    row = np.sin(angle) * x + np.cos(angle) * y + 127.5
    column = np.cos(angle) * x - np.sin(angle) * y + 99.5
    for ours, true in zip(found, (row, column), strict=True):
        steps = np.asarray(ours, np.float64) * 2**15
        assert np.array_equal(steps, np.round(steps))
        np.testing.assert_allclose(ours, true, atol=0.02)


def test_corners_of_a_turned_square_come_from_outside():
    assert bool(inside(9, 9, jnp.asarray(0.0)).all())
    askew = np.asarray(inside(9, 9, jnp.asarray(45.0)))
    assert not askew[0, 0] and not askew[8, 8] and askew[4, 4] and askew[2, 4]


def _key(turn_deg: float, *, defect: bool = False) -> np.ndarray:
    """A part that looks otherwise in every turn, with sensor noise."""
    image = np.full((96, 96, 3), 90, np.uint8)
    image[40:56, 16:80] = 200
    image[24:40, 64:80] = 150
    if defect:
        image[44:52, 28:36] = 40
    wide = Image.fromarray(image).rotate(
        turn_deg, resample=Image.Resampling.BICUBIC, fillcolor=(90, 90, 90)
    )
    noise = np.random.default_rng(abs(int(turn_deg))).integers(0, 6, image.shape)
    return (np.asarray(wide) + noise).astype(np.uint8)


CONFIG = MemoryBankConfig(levels=3, patches=400, window=2, poses=2)


@functools.cache
def _memory() -> MemoryBank:
    shots = [_key(0), _key(3)]
    sight = fit_feature_extractor(np.stack(shots), CONFIG, stride=4)
    return build_memory_bank(sight, shots, CONFIG, stride=4, is_texture=False, seed=0)


@pytest.mark.parametrize("turn_deg", [40.0, 120.0, 250.0])
def test_the_turn_of_a_part_is_found(turn_deg):
    memory = _memory()
    assert memory.poses is not None
    assert memory.poses.turned.shape[:2] == (2, 72)
    image = jnp.asarray(_key(turn_deg))[None] / 255.0

    (features,) = extract(memory.sight, image, CONFIG, stride=4).kinds
    turns, fits = find_poses(memory.poses, features[0], 2)
    assert turns.shape == fits.shape == (2, 2)
    assert np.abs(np.asarray(turns)[:, 0] - turn_deg).max() <= 5
    assert bool(fits[:, 0].all())


def test_a_part_that_lies_as_the_shots_do_fits_no_other_turn():
    memory = _memory()
    assert memory.poses is not None

    image = jnp.asarray(_key(2))[None] / 255.0
    (features,) = extract(memory.sight, image, CONFIG, stride=4).kinds
    assert not np.asarray(find_poses(memory.poses, features[0], 2)[1]).any()


@pytest.mark.parametrize(("best_deg", "found_deg"), [(5, 30), (50, 50)])
def test_a_turn_a_little_from_upright_is_left_out_where_upright_is_best(
    best_deg, found_deg
):
    far = np.full(360 // STEP_DEG, 9.0, np.float32)
    far[10 // STEP_DEG], far[30 // STEP_DEG], far[best_deg // STEP_DEG] = 1.1, 1.2, 1.0
    poses = Poses(
        jnp.eye(2)[:, :1], jnp.ones((1, 1, 8, 8, 1)) * far[:, None, None, None]
    )
    turns, fits = find_poses(poses, jnp.zeros((16, 16, 2)), 2)
    assert turns[0, 0] == found_deg and fits[0, 0]
    assert (10 in np.asarray(turns)) == (best_deg > 5)


def test_a_turned_part_is_near_and_its_defect_is_far():
    memory = _memory()
    upright_only = memory._replace(poses=None)

    def in_place(memory, image) -> np.ndarray:
        unit = jnp.asarray(image)[None] / 255.0
        found = np.asarray(distance_maps_of(memory, unit, CONFIG, stride=4))[0]
        return found[..., found.shape[-1] // 2 :].mean(-1)

    good = _key(120)
    assert in_place(memory, good).mean() < 0.6 * in_place(upright_only, good).mean()
    defective = in_place(memory, _key(120, defect=True)) - in_place(memory, good)
    where = np.unravel_index(defective.argmax(), defective.shape)
    # (48, 32) px, turned by 120 degrees about the middle, in cells of 4 px.
    angle = np.deg2rad(120)
    row, column = 47.5 + 15.5 * np.sin(angle), 47.5 - 15.5 * np.cos(angle)
    assert np.hypot(where[0] - row / 4, where[1] - column / 4) < 3


def test_remembering_poses_describes_every_turn():
    calls = []

    def describe(image):
        calls.append(image)
        return jnp.asarray(image, jnp.float32)[::4, ::4]

    poses = build_poses([_picture()], describe)
    assert poses.turned.shape == (1, 72, 6, 6, 3)
    assert len(calls) == 73
