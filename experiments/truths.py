"""What is known of test photographs, gathered in the pass that scores them.

A photograph is large and its decoding slow: after that pass it is decoded again only
where it is drawn, and maps and masks are of full size only while they are read.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from experiments.computed import Computed
from lfq_jax.ops.resize import to_mask_resolution

if TYPE_CHECKING:  # of these one imports jax
    from datasets.example import Example
    from lfq_jax.inference.predictor import ImagePrediction


class Truth(NamedTuple):
    """A test photograph's ground truth, its mask packed: kilobytes, not megabytes."""

    key: str
    defect: str
    label: int
    shape: tuple[int, int]
    """Of photograph and mask: h, w."""
    has_mask: bool
    """Whether its mask is known: not of a defect without one, or with an empty one."""
    packed: bytes

    @classmethod
    def of(cls, example: "Example") -> "Truth":
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
        """True where the defect is; unpacked anew whenever it is asked for."""
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        height, width = self.shape
        flat = np.unpackbits(bits, count=height * width)
        return flat.reshape(height, width).astype(bool)


def photographs(
    examples: "Iterable[Example]", truths: list[Truth]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The examples' images, one by one; the truth of each is added to `truths`."""
    for example in examples:
        truths.append(Truth.of(example))
        yield example.image


def compared(
    truths: Sequence[Truth], predictions: "Sequence[ImagePrediction]"
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Maps and masks, at each mask's own resolution, made whenever they are read.

    A defective image without a mask is left out.
    """
    pairs = [
        (truth, prediction.map)
        for truth, prediction in zip(truths, predictions, strict=True)
        if truth.has_mask
    ]
    maps = Computed(pairs, lambda pair: to_mask_resolution(pair[1], pair[0].shape))
    masks = Computed(pairs, lambda pair: pair[0].mask)
    return maps, masks
