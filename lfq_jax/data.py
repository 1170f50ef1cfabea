"""Shards -> arrays on the device. The one file here that reads data from disk."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, PRNGKeyArray, UInt8

from datasets.shards import open_shards, to_square
from lfq_jax.augment import Sample

__all__ = ["TrainingData", "draw", "load_shards", "sample", "split", "to_square"]


class TrainingData(NamedTuple):
    """All that a run learns from, as bytes. Put on the device once."""

    normals: UInt8[Array, "k h w 3"]
    images: UInt8[Array, "n h w 3"]
    masks: UInt8[Array, "n h w"]
    """1 where anomalous."""
    sources: Int32[Array, "n"]
    """Which normal image each anomalous one was made from."""

    @property
    def image_px(self) -> int:
        return self.normals.shape[1]


def load_shards(folder: Path) -> TrainingData:
    """Read a finished shard folder.

    Raises:
      ValueError: where the folder's contents do not agree with its manifest.
    """
    shards = open_shards(folder)
    return TrainingData(
        normals=jnp.asarray(shards.normals),
        images=jnp.asarray(shards.images),
        masks=jnp.asarray((np.asarray(shards.masks) > 127).astype(np.uint8)),
        sources=jnp.asarray(np.asarray(shards.sources, np.int32)),
    )


def split(data: TrainingData, *, held_out: int) -> tuple[TrainingData, TrainingData]:
    """The records but for the last `held_out`, and those. Every record has a seed of
    its own, so neither part says anything about the other."""
    count = data.images.shape[0]
    if not 1 <= held_out < count:
        raise ValueError(f"held_out must be in [1, {count - 1}], got {held_out}")
    cut = count - held_out

    def part(chosen: slice) -> TrainingData:
        return data._replace(
            images=data.images[chosen],
            masks=data.masks[chosen],
            sources=data.sources[chosen],
        )

    return part(slice(0, cut)), part(slice(cut, count))


def _unit(image: Array) -> Array:
    return image.astype(jnp.float32) / 255.0


def sample(data: TrainingData, record: Array, *, is_anomalous: Array | bool) -> Sample:
    """Record `record`: the anomalous image, or the normal image it was made from."""
    clean = data.normals[data.sources[record]]
    image = jnp.where(is_anomalous, data.images[record], clean)
    mask = jnp.where(is_anomalous, data.masks[record], 0)
    return Sample(_unit(image), _unit(clean), mask.astype(jnp.float32))


def draw(data: TrainingData, key: PRNGKeyArray, *, anomalous_share: float) -> Sample:
    """A random record: with probability `anomalous_share` its anomalous image."""
    choice_key, record_key = jax.random.split(key)
    is_anomalous = jax.random.bernoulli(choice_key, anomalous_share)
    record = jax.random.randint(record_key, (), 0, data.images.shape[0])
    return sample(data, record, is_anomalous=is_anomalous)
