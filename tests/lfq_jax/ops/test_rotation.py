"""Rotation of images and maps."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lfq_jax.ops.rotation import _origins, inside, rotate, rotate_image


def _picture(px: int = 48) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (px // 8, px // 8, 3), np.uint8)
    image = Image.fromarray(small).resize((px, px), Image.Resampling.BICUBIC)
    return np.asarray(image)


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, -90.0, 133.0])
def test_pillow_and_jax_rotate_an_image_equally(turn_deg):
    image = _picture()
    pillow = rotate_image(image, turn_deg).astype(np.float64) / 255
    ours = np.asarray(rotate(jnp.asarray(image) / 255.0, jnp.asarray(turn_deg)))
    middle = slice(12, 36)  # near the border, Pillow's padding is too small
    np.testing.assert_allclose(ours[middle, middle], pillow[middle, middle], atol=0.02)


def test_a_rotation_is_counter_clockwise_and_the_inverse_rotation_undoes_it():
    image = np.zeros((33, 33, 1), np.float32)
    image[16, 26] = 1.0  # on the right
    up = np.asarray(rotate(jnp.asarray(image), jnp.asarray(90.0), is_map=True))
    assert np.unravel_index(up.argmax(), up.shape)[:2] == (6, 16)
    back = np.asarray(rotate(jnp.asarray(up), jnp.asarray(-90.0), is_map=True))
    np.testing.assert_allclose(back, image, atol=1e-4)


@pytest.mark.parametrize("turn_deg", [-55.0, 0.0, 90.0, 355.0])
def test_source_positions_are_exact_multiples_of_a_small_step(turn_deg):
    """So no rounding moves a source position to the next cell."""
    found = _origins(256, 200, jnp.asarray(turn_deg))
    angle = np.deg2rad(turn_deg)
    y, x = np.mgrid[:256, :200] - np.array([127.5, 99.5])[:, None, None]
    row = np.sin(angle) * x + np.cos(angle) * y + 127.5
    column = np.cos(angle) * x - np.sin(angle) * y + 99.5
    for ours, true in zip(found, (row, column), strict=True):
        steps = np.asarray(ours, np.float64) * 2**15
        assert np.array_equal(steps, np.round(steps))
        np.testing.assert_allclose(ours, true, atol=0.02)


def test_corners_of_a_rotated_square_come_from_outside():
    assert bool(inside(9, 9, jnp.asarray(0.0)).all())
    askew = np.asarray(inside(9, 9, jnp.asarray(45.0)))
    assert not askew[0, 0] and not askew[8, 8] and askew[4, 4] and askew[2, 4]


@pytest.mark.parametrize("turn_deg", [6.0, 45.0, 90.0])
def test_a_long_image_is_mirrored_beyond_its_ends(turn_deg):
    image = np.full((32, 160, 3), 200, np.uint8)
    assert rotate_image(image, turn_deg).min() == 200
