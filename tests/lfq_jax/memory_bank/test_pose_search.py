"""The pose search for a part's rotation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.bank import MemoryBank, build_memory_bank
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import extract, fit_feature_extractor
from lfq_jax.memory_bank.pose_search import STEP_DEG, Poses, build_poses, find_poses

CONFIG = MemoryBankConfig(levels=3, patches=400, window=2, poses=2)
compiled_maps = jax.jit(distance_maps_of, static_argnames=("config", "stride"))


def _key(turn_deg: float, *, defect: bool = False) -> np.ndarray:
    """A part that looks different in every rotation, with sensor noise."""
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


@functools.cache
def _bank() -> MemoryBank:
    shots = [_key(0), _key(3)]
    extractor = fit_feature_extractor(np.stack(shots), CONFIG, stride=4)
    return build_memory_bank(
        extractor, shots, CONFIG, stride=4, is_texture=False, seed=0
    )


@jax.jit
def _found(bank: MemoryBank, image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rotations of the bank's shots that are most similar to an 8-bit image."""
    assert bank.poses is not None
    unit = image[None] / 255.0
    (features,) = extract(bank.extractor, unit, CONFIG, stride=4).by_source
    return find_poses(bank.poses, features[0], 2)


@pytest.mark.parametrize("turn_deg", [40.0, 120.0, 250.0])
def test_the_rotation_of_a_part_is_found(turn_deg):
    bank = _bank()
    assert bank.poses is not None
    assert bank.poses.turned.shape[:2] == (2, 72)
    turns, fits = _found(bank, jnp.asarray(_key(turn_deg)))
    assert turns.shape == fits.shape == (2, 2)
    assert np.abs(np.asarray(turns)[:, 0] - turn_deg).max() <= 5
    assert bool(fits[:, 0].all())


def test_a_part_at_the_angle_of_the_shots_fits_no_other_rotation():
    _, fits = _found(_bank(), jnp.asarray(_key(2)))
    assert not np.asarray(fits).any()


@pytest.mark.parametrize(("best_deg", "found_deg"), [(5, 30), (50, 50)])
def test_a_small_rotation_is_excluded_if_upright_fits_best(best_deg, found_deg):
    far = np.full(360 // STEP_DEG, 9.0, np.float32)
    far[10 // STEP_DEG], far[30 // STEP_DEG], far[best_deg // STEP_DEG] = 1.1, 1.2, 1.0
    poses = Poses(
        jnp.eye(2)[:, :1], jnp.ones((1, 1, 8, 8, 1)) * far[:, None, None, None]
    )
    compiled = jax.jit(find_poses, static_argnums=2)
    turns, fits = compiled(poses, jnp.zeros((16, 16, 2)), 2)
    assert turns[0, 0] == found_deg and fits[0, 0]
    assert (10 in np.asarray(turns)) == (best_deg > 5)


def test_a_rotated_part_has_small_distances_and_its_defect_large_ones():
    bank = _bank()
    upright_only = bank._replace(poses=None)

    def in_window(bank, image) -> np.ndarray:
        unit = jnp.asarray(image)[None] / 255.0
        distances = compiled_maps(bank, unit, config=CONFIG, stride=4).distances[0]
        return np.asarray(distances)[..., distances.shape[-1] // 2 :].mean(-1)

    good = _key(120)
    assert in_window(bank, good).mean() < 0.6 * in_window(upright_only, good).mean()
    defective = in_window(bank, _key(120, defect=True)) - in_window(bank, good)
    where = np.unravel_index(defective.argmax(), defective.shape)
    # (48, 32) px, rotated by 120 degrees about the centre, in cells of 4 px.
    angle = np.deg2rad(120)
    row, column = 47.5 + 15.5 * np.sin(angle), 47.5 - 15.5 * np.cos(angle)
    assert np.hypot(where[0] - row / 4, where[1] - column / 4) < 3


def test_the_pose_search_extracts_features_in_every_rotation():
    calls = []

    def describe(image):
        calls.append(image)
        return jnp.asarray(image, jnp.float32)[::4, ::4]

    poses = build_poses([_key(0)[:48, :48]], describe)
    assert poses.turned.shape == (1, 72, 6, 6, 3)
    assert len(calls) == 73
