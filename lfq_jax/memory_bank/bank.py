"""TODO docstring of lfq_jax.memory_bank.bank."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.features import (
    FeatureExtractor,
    extract_filters,
    extract_from_images,
)
from lfq_jax.memory_bank.layout import orientation_channels
from lfq_jax.memory_bank.orientation import Orientation, fit_orientation
from lfq_jax.memory_bank.pose_search import Poses, build_poses
from lfq_jax.memory_bank.subsampling import sample
from lfq_jax.ops.precision import exact_products
from lfq_jax.ops.rotation import rotate_image


class FeatureBank(NamedTuple):
    """The shots' projected features. Arrays only."""

    patches: Float[Array, "n g"]
    """From anywhere on the shots."""
    places: Float[Array, "k h w g"]
    """Of every place on the shots, moved and turned a little: a shot's variants, then
    the next one's. k = 0 where places are not compared."""


class MemoryBank(NamedTuple):
    """What a detector compares an image with. Arrays only."""

    sight: FeatureExtractor
    filters: FeatureBank
    stages: tuple[FeatureBank, ...] = ()
    """Of every stage of the encoder."""
    poses: Poses | None = None
    """Where images are compared in other turns, too."""
    orientation: Orientation | None = None
    """Of textures: how their grain runs."""
    usual: Float[Array, "r c"] | None = None
    """How much more `compare` finds on good parts near the border of the image, by how
    many cells away it is; the last row, 0, goes for all that lie deeper."""

    @property
    def memories(self) -> tuple[FeatureBank, ...]:
        """One for each kind of feature."""
        return self.filters, *self.stages


@exact_products
def build_memory_bank(
    sight: FeatureExtractor,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    config: MemoryBankConfig,
    *,
    stride: int,
    is_texture: bool,
    seed: int,
) -> MemoryBank:
    """The memory of `images`, normal ones."""

    def described(images: Sequence[np.ndarray]) -> tuple[Array, ...]:
        return extract_from_images(sight, images, config, stride=stride)

    kinds = described(images)
    of_stage = config.encoder.patches if config.encoder else 0
    counts = [config.patches, *[of_stage] * (len(kinds) - 1)]
    patches = [
        sample(kind, count, seed=seed)
        for kind, count in zip(kinds, counts, strict=True)
    ]
    places, poses = [kind[:0] for kind in kinds], None
    if config.window > 0 and not is_texture:
        moved = [m for image in images for m in _variants(image, stride, config)]
        places = described(moved)
        if config.poses:
            poses = build_poses(
                list(images),
                lambda image: extract_filters(sight, image, config, stride=stride),
            )
    orientation = None
    if orientation_channels(config, is_texture=is_texture):
        orientation = fit_orientation(images, seed=seed)
    filters, *stages = [
        FeatureBank(*both) for both in zip(patches, places, strict=True)
    ]
    return MemoryBank(sight, filters, tuple(stages), poses, orientation)


def _variants(
    image: UInt8[np.ndarray, "h w 3"], stride: int, config: MemoryBankConfig
) -> list[np.ndarray]:
    turns = [rotate_image(image, turn) for turn in config.turns_deg]
    return _moved(image, stride // 2) + turns


def _moved(image: UInt8[np.ndarray, "h w 3"], half: int) -> list[np.ndarray]:
    """The image, and moved by half a cell right, down, and both.

    An edge in the middle of a cell does not look like one on its border.
    """
    if not half:
        return [image]
    wide = np.pad(image, ((half, 0), (half, 0), (0, 0)), mode="edge")
    h, w, _ = image.shape
    return [wide[i : i + h, j : j + w] for i in (half, 0) for j in (half, 0)]
