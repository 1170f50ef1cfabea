"""Shards as a data set for training in torch: DRAEM, anomalib's models, your own.

The keys and shapes are those of DRAEM's training set, which this data set can replace
without another change.
"""

from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from datasets.shards import Shards, open_shards


class Sample(TypedDict):
    """One training sample."""

    image: Tensor
    """The normal image, f32[3 h w] in [0, 1]: the target of the reconstruction."""
    augmented_image: Tensor
    """The anomalous image, or the normal one again, f32[3 h w] in [0, 1]."""
    anomaly_mask: Tensor
    """f32[1 h w], 1 where the two images differ."""
    has_anomaly: Tensor
    """f32[1], 1 or 0."""
    idx: int
    """The sample's index. Reading it again gives the same sample."""


class AnomalyDataset(Dataset[Sample]):
    """A finished shard folder, memory-mapped. Workers map it again instead of copying.

    Samples 0 .. n - 1 are the anomalies; after them, the normal images take turns.
    """

    def __init__(self, folder: Path | str, *, normal_share: float = 0.5) -> None:
        """Open the folder and check it.

        Args:
          folder: as `python -m agm_torch generate` prints it.
          normal_share: share of the samples without an anomaly, in [0, 1).

        Raises:
          FileNotFoundError: the folder was never finished.
          ValueError: a shard is damaged, or `normal_share` is out of range.
        """
        if not 0.0 <= normal_share < 1.0:
            raise ValueError(f"normal_share must lie in [0, 1), got {normal_share}")
        self.folder = Path(folder)
        self.normal_share = normal_share
        self._shards = open_shards(self.folder)
        self._starts = _starts(self._shards)

    def __len__(self) -> int:
        anomalies = len(self._shards)
        return anomalies + round(
            anomalies * self.normal_share / (1 - self.normal_share)
        )

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`. Equal at every call.

        Raises:
          IndexError: there is no such sample.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        normals = self._shards.normals
        if index >= len(self._shards):
            normal = _floats(normals[(index - len(self._shards)) % len(normals)])
            empty = torch.zeros(1, *normal.shape[1:])
            return _sample(normal, normal.clone(), empty, index)
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        records, row = self._shards.parts[shard], index - int(self._starts[shard])
        return _sample(
            _floats(normals[records.sources[row]]),
            _floats(records.images[row]),
            torch.from_numpy((records.masks[row] > 0).astype(np.float32))[None],
            index,
        )

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "normal_share": self.normal_share}

    def __setstate__(self, state: dict[str, object]) -> None:
        """In a worker: map the files again, without checking them again."""
        self.__dict__.update(state)
        self._shards = open_shards(self.folder, verify=False)
        self._starts = _starts(self._shards)


def _starts(shards: Shards) -> np.ndarray:
    """The first record of every shard."""
    return np.cumsum([0, *(len(part.sources) for part in shards.parts)])


def _sample(image: Tensor, augmented: Tensor, mask: Tensor, index: int) -> Sample:
    return {
        "image": image,
        "augmented_image": augmented,
        "anomaly_mask": mask,
        "has_anomaly": mask.amax().reshape(1),
        "idx": index,
    }


def _floats(pixels: UInt8[np.ndarray, "h w 3"]) -> Tensor:
    """f32[3 h w] in [0, 1]."""
    channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(channels_first.astype(np.float32) / 255)
