"""Shards -> arrays on the device. The one file here that reads data from disk."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float16, Int32, PRNGKeyArray, UInt8

from datasets.shards import open_shards, to_square

__all__ = [
    "Chosen",
    "Named",
    "Photographs",
    "Sample",
    "Samples",
    "TrainingData",
    "crop",
    "draw",
    "load_shards",
    "name",
    "split",
    "to_square",
]

CENTRED_SHARE = 0.7  # of the crops of an anomalous image are laid over its anomaly


class Photographs(NamedTuple):
    """What a shard folder holds, on the host."""

    normals: UInt8[np.ndarray, "k h w 3"]
    images: UInt8[np.ndarray, "n h w 3"]
    masks: UInt8[np.ndarray, "n h w"]
    """1 where anomalous."""
    sources: Int32[np.ndarray, "n"]
    """Which normal image each anomalous one was made from."""


class Samples(NamedTuple):
    """Images with all that a step needs to know of them."""

    images: UInt8[Array, "n h w 3"]
    normals: UInt8[Array, "n h w 3"]
    """The image as it would be without its anomaly."""
    masks: UInt8[Array, "n h w"]
    references: Float16[Array, "n gh gw c"]
    """What `compare` finds beside the other shots; c = 0 where nothing is compared."""


class Sample(NamedTuple):
    """One training image, values in [0, 1]."""

    image: Float[Array, "h w 3"]
    normal: Float[Array, "h w 3"]
    mask: Float[Array, "h w"]
    reference: Float[Array, "gh gw c"]


class Named(NamedTuple):
    """Which record a draw takes."""

    is_anomalous: Bool[Array, "*b"]
    i: Int32[Array, "*b"]


class Chosen(NamedTuple):
    """Records that were named before, in the order of the steps that draw them."""

    samples: Samples
    """Leading axis: steps x images a step."""
    first_step: Int32[Array, ""]


class TrainingData(NamedTuple):
    """All that a run learns from. Put on the device once."""

    anomalous: Samples
    good: Samples


def load_shards(folder: Path) -> Photographs:
    """Read a finished shard folder.

    Raises:
      ValueError: where the folder's contents do not agree with its manifest.
    """
    shards = open_shards(folder)
    return Photographs(
        normals=np.asarray(shards.normals),
        images=np.asarray(shards.images),
        masks=(np.asarray(shards.masks) > 127).astype(np.uint8),
        sources=np.asarray(shards.sources, np.int32),
    )


def split(data: Photographs, *, held_out: int) -> tuple[Photographs, Photographs]:
    """The records but for the last `held_out`, and those. Every record has a seed of
    its own, so neither part says anything about the other."""
    count = data.images.shape[0]
    if not 1 <= held_out < count:
        raise ValueError(f"held_out must be in [1, {count}), got {held_out}")
    cut = count - held_out

    def part(chosen: slice) -> Photographs:
        return data._replace(
            images=data.images[chosen],
            masks=data.masks[chosen],
            sources=data.sources[chosen],
        )

    return part(slice(0, cut)), part(slice(cut, count))


def _sample(samples: Samples, i: Array | int) -> Sample:
    return Sample(
        image=samples.images[i].astype(jnp.float32) / 255.0,
        normal=samples.normals[i].astype(jnp.float32) / 255.0,
        mask=samples.masks[i].astype(jnp.float32),
        reference=samples.references[i].astype(jnp.float32),
    )


def name(
    counts: tuple[int, int], key: PRNGKeyArray, *, anomalous_share: float
) -> Named:
    """Which record `draw` takes with this key, of so many anomalous and good ones."""
    choice_key, record_key, _ = jax.random.split(key, 3)
    is_anomalous = jax.random.bernoulli(choice_key, anomalous_share)
    count = jnp.where(is_anomalous, *counts)
    return Named(is_anomalous, jax.random.randint(record_key, (), 0, count))


def draw(
    data: TrainingData | Chosen,
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
    if isinstance(data, Chosen):
        sample = _sample(data.samples, position)
    else:
        counts = len(data.anomalous.images), len(data.good.images)
        is_anomalous, i = name(counts, key, anomalous_share=anomalous_share)
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
    grid = sample.reference.shape[0]
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
        cut(sample.reference, 1),
    )
