"""Photographs on the host and samples on the device; reads the anomaly cache."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8

from datasets.shards import open_shards
from lfq_jax.memory_bank.distances import DistanceMaps, empty_maps
from lfq_jax.memory_bank.map_channels import MapChannels


class Photographs(NamedTuple):
    """The contents of a shard folder, on the host."""

    normals: UInt8[np.ndarray, "k h w 3"]
    images: UInt8[np.ndarray, "n h w 3"]
    masks: UInt8[np.ndarray, "n h w"]
    """1 where anomalous."""
    sources: Int32[np.ndarray, "n"]
    """Index of the normal image that each anomalous one was made from."""


class Samples(NamedTuple):
    """Images with everything that a step needs to know about them."""

    images: UInt8[Array, "n h w 3"]
    normals: UInt8[Array, "n h w 3"]
    """The same images without their anomalies."""
    masks: UInt8[Array, "n h w"]
    distance_maps: DistanceMaps
    """float16, compared with the other shots. No channels without a memory bank."""


class Sample(NamedTuple):
    """One training image, values in [0, 1]."""

    image: Float[Array, "h w 3"]
    normal: Float[Array, "h w 3"]
    mask: Float[Array, "h w"]
    distance_maps: DistanceMaps
    """float32."""


class TrainingData(NamedTuple):
    """All that a run learns from."""

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
    """Split the records into (training records, the last `held_out` records).

    Every record has a seed of its own, so the two parts are independent.

    Raises:
      ValueError: where `held_out` leaves one of the parts empty.
    """
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


def good_samples(images: UInt8[np.ndarray, "n h w 3"], *, stride: int) -> Samples:
    """Good parts as samples, not compared with anything yet.

    Args:
      stride: side of a cell of the distance maps, in pixels.
    """
    n, h, w, _ = images.shape
    pixels = jax.device_put(images)
    maps = empty_maps((n, h // stride, w // stride), MapChannels(), np.float16)
    return Samples(
        images=pixels,
        normals=pixels,
        masks=jax.device_put(np.zeros((n, h, w), np.uint8)),
        distance_maps=jax.device_put(maps),
    )


def anomalous_samples(data: Photographs, *, stride: int) -> Samples:
    """The anomalous images as samples, not compared with anything yet."""
    return good_samples(data.images, stride=stride)._replace(
        normals=jax.device_put(data.normals[data.sources]),
        masks=jax.device_put(data.masks),
    )
