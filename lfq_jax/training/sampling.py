"""Which record each step draws, and the crop of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, PRNGKeyArray

from lfq_jax.training.data import Sample, Samples, TrainingData

CENTRED_SHARE = 0.7  # of the crops of an anomalous image that contain its anomaly


class RecordIndex(NamedTuple):
    """Index of a record, among the anomalous or the good ones."""

    is_anomalous: Bool[Array, "*b"]
    i: Int32[Array, "*b"]


class GatheredRecords(NamedTuple):
    """Records gathered in advance, in the order of the steps that draw them."""

    samples: Samples
    """Leading axis: steps x images a step."""
    first_step: Int32[Array, ""]


def _sample(samples: Samples, i: Array | int) -> Sample:
    return Sample(
        image=samples.images[i].astype(jnp.float32) / 255.0,
        normal=samples.normals[i].astype(jnp.float32) / 255.0,
        mask=samples.masks[i].astype(jnp.float32),
        distance_maps=jax.tree.map(
            lambda x: x[i].astype(jnp.float32), samples.distance_maps
        ),
    )


def choose_record(
    counts: tuple[int, int], key: PRNGKeyArray, *, anomalous_share: float
) -> RecordIndex:
    """The record that `draw` takes with this key.

    Args:
      counts: number of anomalous and of good records.
    """
    choice_key, record_key, _ = jax.random.split(key, 3)
    is_anomalous = jax.random.bernoulli(choice_key, anomalous_share)
    count = jnp.where(is_anomalous, *counts)
    return RecordIndex(is_anomalous, jax.random.randint(record_key, (), 0, count))


def draw(
    data: TrainingData | GatheredRecords,
    key: PRNGKeyArray,
    *,
    anomalous_share: float,
    crop_px: int = 0,
    position: Array | int = 0,
) -> Sample:
    """A random sample, anomalous with probability `anomalous_share`.

    Args:
      crop_px: side of the square that is cropped from the sample. 0: no crop.
      position: index into `data`, where it was gathered in advance with the same key.
    """
    if isinstance(data, GatheredRecords):
        sample = _sample(data.samples, position)
    else:
        counts = len(data.anomalous.images), len(data.good.images)
        is_anomalous, i = choose_record(counts, key, anomalous_share=anomalous_share)
        # Both are read, out of range clamps: cheaper than a branch under vmap.
        both = _sample(data.anomalous, i), _sample(data.good, i)
        sample = jax.tree.map(lambda a, g: jnp.where(is_anomalous, a, g), *both)
    crop_key = jax.random.split(key, 3)[2]
    return crop(sample, crop_key, crop_px) if crop_px else sample


def crop(sample: Sample, key: PRNGKeyArray, crop_px: int) -> Sample:
    """A square of side `crop_px`, aligned to the cells of the distance maps.

    Most squares contain a random point of the anomaly, if there is one. The others are
    anywhere.
    """
    rows, columns = sample.distance_maps.distances.shape[:2]
    cell = sample.mask.shape[0] // rows
    cells = crop_px // cell
    point_key, centred_key, offset_key = jax.random.split(key, 3)
    by_cell = sample.mask.reshape(rows, cell, columns, cell).max((1, 3)).ravel()
    is_centred = jax.random.bernoulli(centred_key, CENTRED_SHARE)
    # The argmax of Gumbel noise draws uniformly. Adding 1e3 limits the draw to
    # anomalous cells, if there are any.
    chance = jax.random.gumbel(point_key, by_cell.shape)
    point = jnp.argmax(chance + jnp.where(is_centred, 1e3 * by_cell, 0.0))
    offset = jax.random.randint(offset_key, (2,), 0, cells)
    corner = jnp.stack([point // columns, point % columns]) - offset
    row, column = jnp.clip(corner, 0, jnp.array([rows, columns]) - cells)

    def cut(x: Array, scale: int) -> Array:
        start = (row * scale, column * scale, *(0,) * (x.ndim - 2))
        size = (cells * scale, cells * scale, *x.shape[2:])
        return jax.lax.dynamic_slice(x, start, size)

    return Sample(
        cut(sample.image, cell),
        cut(sample.normal, cell),
        cut(sample.mask, cell),
        jax.tree.map(lambda x: cut(x, 1), sample.distance_maps),
    )
