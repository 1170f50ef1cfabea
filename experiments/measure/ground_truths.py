"""Ground truths of test photographs, collected while the photographs are scored.

Photographs are large and slow to decode. After scoring, a photograph is decoded again
only if it is drawn, and maps and masks have full size only while they are accessed.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from experiments.measure.lazy_arrays import LazyArrays
from lfq_jax.ops.resize import to_mask_resolution

if TYPE_CHECKING:  # lfq_jax.inference.predictor imports jax
    from datasets.example import Example
    from datasets.framing import Framing
    from lfq_jax.inference.predictor import RawPrediction


class GroundTruth(NamedTuple):
    """Ground truth of a test photograph. Its mask is packed into a few kilobytes."""

    key: str
    defect: str
    label: int
    shape: tuple[int, int]
    """Height and width of photograph and mask."""
    has_mask: bool
    """Whether its mask is known. False for a defect whose mask is missing or empty."""
    packed: bytes
    """The mask, one bit for each pixel, compressed with zlib."""

    @classmethod
    def of(cls, example: "Example") -> "GroundTruth":
        """The ground truth of an example."""
        return cls(
            key=example.key,
            defect=example.defect,
            label=example.label,
            shape=example.mask.shape,
            has_mask=not example.label or bool(example.mask.any()),
            packed=zlib.compress(np.packbits(example.mask).tobytes(), level=1),
        )

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """True where the defect is. Unpacked again on every access."""
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        height, width = self.shape
        flat = np.unpackbits(bits, count=height * width)
        return flat.reshape(height, width).astype(bool)


def photographs(
    examples: "Iterable[Example]", truths: list[GroundTruth], framing: "Framing"
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the examples' images, and append the ground truth of each to `truths`.

    Args:
      framing: how the images become those that the networks see.

    Raises:
      ValueError: an image is too elongated for that. Names it.
    """
    for example in examples:
        framing.frame(example.image.shape, name=example.key)
        truths.append(GroundTruth.of(example))
        yield example.image


def compared(
    truths: Sequence[GroundTruth], predictions: "Sequence[RawPrediction]"
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Maps and masks at each mask's resolution, computed on every access.

    A defective image without a mask is left out.
    """
    pairs = [
        (truth, prediction.map)
        for truth, prediction in zip(truths, predictions, strict=True)
        if truth.has_mask
    ]
    maps = LazyArrays(pairs, lambda pair: to_mask_resolution(pair[1], pair[0].shape))
    masks = LazyArrays(pairs, lambda pair: pair[0].mask)
    return maps, masks
