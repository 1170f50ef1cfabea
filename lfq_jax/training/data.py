"""Shards -> arrays on the device. The one file here that reads data from disk."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float16, Int32, UInt8

from datasets.shards import open_shards


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
