"""Which records the steps draw, and how they are cropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.training.data import Sample
from lfq_jax.training.sampling import crop, draw
from tests.lfq_jax.training.tiny_training import photographs, unmeasured_data


def _sample(width: int = 32) -> Sample:
    """A sample whose planes agree about where the anomaly is."""
    mask = np.zeros((32, width), np.float32)
    mask[16:20, 24:28] = 1
    image = jnp.asarray(np.repeat(mask[..., None], 3, -1))
    by_cell = jnp.asarray(mask.reshape(8, 4, -1, 4).max((1, 3))[..., None])
    maps = DistanceMaps(*[by_cell] * len(DistanceMaps._fields))
    return Sample(image, image, jnp.asarray(mask), maps)


@pytest.mark.parametrize("width", [32, 64])
def test_crops_keep_image_mask_and_distance_maps_together(width):
    keys = jax.random.split(jax.random.key(0), 64)
    crops = jax.vmap(lambda key: crop(_sample(width), key, 16))(keys)
    assert crops.mask.shape == (64, 16, 16)
    np.testing.assert_array_equal(crops.image[..., 0], crops.mask)
    by_cell = crops.mask.reshape(64, 4, 4, 4, 4).max((2, 4))
    for field in crops.distance_maps:
        np.testing.assert_array_equal(field[..., 0], by_cell)
    share = float(crops.mask.any((1, 2)).mean())
    assert 0.6 < share < 1


def test_draws_contain_the_configured_share_of_anomalies():
    data = unmeasured_data(photographs(6), stride=4)
    keys = jax.random.split(jax.random.key(1), 200)
    drawn = jax.vmap(lambda key: draw(data, key, anomalous_share=0.8))(keys)
    share = float(drawn.mask.any((1, 2)).mean())
    assert 0.7 < share < 0.9
