"""Deformed copies of a photograph."""

import numpy as np
from scipy.ndimage import center_of_mass

from lfq_jax.training.deformation import DISPLACEMENT, deformed


def _spot(row: int, column: int, *, height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[row - 3 : row + 4, column - 3 : column + 4] = 250
    return image


def test_a_copy_is_another_image_of_the_same_size_and_the_seed_decides_which():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    one, same, other = (
        deformed(image, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.shape == image.shape and one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert np.abs(one.astype(int) - other).mean() > 5
    assert np.abs(one.astype(int) - image).mean() > 5


def test_an_image_without_structure_stays_as_it_is():
    image = np.full((40, 32, 3), (10, 120, 250), np.uint8)
    np.testing.assert_array_equal(deformed(image, np.random.default_rng(0)), image)


def test_the_middle_moves_by_at_most_the_displacement():
    height, width = 96, 128
    image = _spot(48, 64, height=height, width=width)
    # Cubic interpolation between control points may exceed them a little.
    most_px = 1.3 * DISPLACEMENT * height
    moved = []
    for seed in range(20):
        copy = deformed(image, np.random.default_rng(seed))
        centre = np.array(center_of_mass(copy[..., 0].astype(float)))
        moved.append(np.abs(centre - (48, 64)).max())
    assert max(moved) < most_px + 1
    assert np.mean(moved) > 0.5
