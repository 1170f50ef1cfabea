"""TODO docstring of lfq_jax.training.sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, PRNGKeyArray

from lfq_jax.training.data import Sample, Samples, TrainingData

CENTRED_SHARE = 0.7  # of the crops of an anomalous image are laid over its anomaly


class RecordIndex(NamedTuple):
    """Which record a draw takes."""

    is_anomalous: Bool[Array, "*b"]
    i: Int32[Array, "*b"]


class GatheredRecords(NamedTuple):
    """Records that were named before, in the order of the steps that draw them."""

    samples: Samples
    """Leading axis: steps x images a step."""
    first_step: Int32[Array, ""]


def _sample(samples: Samples, i: Array | int) -> Sample:
    return Sample(
        image=samples.images[i].astype(jnp.float32) / 255.0,
        normal=samples.normals[i].astype(jnp.float32) / 255.0,
        mask=samples.masks[i].astype(jnp.float32),
        reference=samples.distance_maps[i].astype(jnp.float32),
    )


def choose_record(
    counts: tuple[int, int], key: PRNGKeyArray, *, anomalous_share: float
) -> RecordIndex:
    """Which record `draw` takes with this key, of so many anomalous and good ones."""
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
    """A random sample: with probability `anomalous_share` an anomalous one.

    With `crop_px`, a square of that side of it. Of records that were chosen with the
    same key before, the one at `position`.
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
    """A square of side `crop_px`, in steps of one cell of the reference grid.

    Most squares hold a random point of the anomaly, if there is one; the others lie
    anywhere.
    """
    side = sample.mask.shape[0]
    grid = sample.distance_maps.shape[0]
    cell = side // grid
    cells = crop_px // cell
    point_key, centred_key, offset_key = jax.random.split(key, 3)
    by_cell = sample.mask.reshape(grid, cell, grid, cell).max((1, 3)).ravel()
    is_centred = jax.random.bernoulli(centred_key, CENTRED_SHARE)
    # The largest of Gumbel noise is a uniform draw; anomalous cells come first.
    chance = jax.random.gumbel(point_key, by_cell.shape)
    point = jnp.argmax(chance + jnp.where(is_centred, 1e3 * by_cell, 0.0))
    offset = jax.random.randint(offset_key, (2,), 0, cells)
    corner = jnp.stack([point // grid, point % grid]) - offset
    row, column = jnp.clip(corner, 0, grid - cells)

    def cut(x: Array, scale: int) -> Array:
        start = (row * scale, column * scale, *(0,) * (x.ndim - 2))
        size = (cells * scale, cells * scale, *x.shape[2:])
        return jax.lax.dynamic_slice(x, start, size)

    return Sample(
        cut(sample.image, cell),
        cut(sample.normal, cell),
        cut(sample.mask, cell),
        cut(sample.distance_maps, 1),
    )
