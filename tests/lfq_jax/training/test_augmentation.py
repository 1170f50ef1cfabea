"""Random variation of good parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import AugmentConfig
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.training.augmentation import augment
from lfq_jax.training.data import Sample


def _sample(width: int = 32) -> Sample:
    """A sample whose planes agree about where the anomaly is."""
    mask = np.zeros((32, width), np.float32)
    mask[16:20, 24:28] = 1
    image = jnp.asarray(np.repeat(mask[..., None], 3, -1))
    by_cell = jnp.asarray(mask.reshape(8, 4, -1, 4).max((1, 3))[..., None])
    maps = DistanceMaps(*[by_cell] * len(DistanceMaps._fields))
    return Sample(image, image, jnp.asarray(mask), maps)


def test_mirrors_and_turns_keep_image_mask_and_distance_maps_together():
    config = AugmentConfig(flips="both", quarter_turns="always")
    for i in range(8):
        turned = augment(_sample(), jax.random.key(i), config=config, is_texture=True)
        np.testing.assert_array_equal(turned.image[..., 0], turned.mask)
        by_cell = turned.mask.reshape(8, 4, 8, 4).max((1, 3))
        for field in turned.distance_maps:
            np.testing.assert_array_equal(field[..., 0], by_cell)


@pytest.mark.parametrize(("flips", "copies"), [("both", 4), ("none", 2)])
def test_an_image_that_is_not_square_keeps_its_shape(flips, copies):
    config = AugmentConfig(flips=flips, quarter_turns="always")
    seen = set()
    for i in range(24):
        turned = augment(_sample(64), jax.random.key(i), config=config, is_texture=True)
        assert turned.image.shape == (32, 64, 3)
        np.testing.assert_array_equal(turned.image[..., 0], turned.mask)
        seen.add(np.asarray(turned.mask).tobytes())
    assert len(seen) == copies
