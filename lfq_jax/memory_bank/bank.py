"""The memory bank: patches of the shots, poses, orientation and border baseline.

A patch memory as in PatchCore (Roth et al. 2022), over the features of `features.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.features import (
    FeatureExtractor,
    extract_first_source,
    extract_from_images,
)
from lfq_jax.memory_bank.map_channels import map_channels
from lfq_jax.memory_bank.orientation import Orientation, fit_orientation
from lfq_jax.memory_bank.pose_search import Poses, build_poses
from lfq_jax.memory_bank.subsampling import sample
from lfq_jax.ops.precision import exact_products
from lfq_jax.ops.rotation import rotate_image


class FeatureBank(NamedTuple):
    """The shots' projected features from one source. Arrays only."""

    anywhere: Float[Array, "n g"]
    """Patches from anywhere on the shots."""
    in_place: Float[Array, "k h w g"]
    """Features of every cell of the shots, slightly moved and rotated: all variants of
    the first shot, then of the next one. k = 0 where there is no window search."""


class MemoryBank(NamedTuple):
    """What a detector compares an image with. Arrays only."""

    extractor: FeatureExtractor
    filters: FeatureBank | None
    stages: tuple[FeatureBank, ...] = ()
    """One bank for each stage of the backbone."""
    poses: Poses | None = None
    """The rotated shots, where images are compared in other poses as well."""
    orientation: Orientation | None = None
    """For textures: how the shots' grain runs."""
    border_baseline: Float[Array, "r c"] | None = None
    """Additional distance that good parts have near the image's border, by distance
    from the border in cells. The last row is 0 and applies to all deeper cells."""

    @property
    def by_source(self) -> tuple[FeatureBank, ...]:
        """One bank for each source of features."""
        return self.stages if self.filters is None else (self.filters, *self.stages)


@exact_products
def build_memory_bank(
    extractor: FeatureExtractor,
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    config: MemoryBankConfig,
    *,
    stride: int,
    is_texture: bool,
    seed: int,
) -> MemoryBank:
    """The memory bank of normal images.

    Args:
      images: of one size. Textures may be turned by 90 degrees.
      stride: side of a cell in pixels.
      is_texture: textures are searched anywhere, objects in a window as well.
      seed: of the random choice of patches.
    """

    def features_of(images: Sequence[np.ndarray]) -> tuple[Array, ...]:
        return extract_from_images(extractor, images, config, stride=stride)

    upright = [image for image in images if image.shape == images[0].shape]
    turned = [image for image in images if image.shape != images[0].shape]
    by_source = features_of(upright)
    flat = [features.reshape(-1, features.shape[-1]) for features in by_source]
    if turned:
        flat = [
            jnp.concatenate([rows, features.reshape(-1, features.shape[-1])])
            for rows, features in zip(flat, features_of(turned), strict=True)
        ]
    stage_patches = config.backbone.patches if config.backbone else 0
    counts = [stage_patches] * len(by_source)
    if config.compares_filters:
        counts[0] = config.patches
    anywhere = [
        sample(features, count, seed=seed)
        for features, count in zip(flat, counts, strict=True)
    ]
    in_place, poses = [features[:0] for features in by_source], None
    if config.window > 0 and not is_texture:
        variants = [v for image in images for v in _variants(image, stride, config)]
        in_place = features_of(variants)
        if config.poses:
            poses = build_poses(
                list(images),
                lambda image: extract_first_source(
                    extractor, image, config, stride=stride
                ),
            )
    orientation = None
    if map_channels(config, is_texture=is_texture).orientation:
        orientation = fit_orientation(images, seed=seed)
    pairs = zip(anywhere, in_place, strict=True)
    banks = [FeatureBank(*pair) for pair in pairs]
    filters = banks.pop(0) if config.compares_filters else None
    return MemoryBank(extractor, filters, tuple(banks), poses, orientation)


def _variants(
    image: UInt8[np.ndarray, "h w 3"], stride: int, config: MemoryBankConfig
) -> list[np.ndarray]:
    """The image, moved by half a cell and rotated slightly."""
    rotated = [rotate_image(image, turn) for turn in config.turns_deg]
    return _moved_by_half_a_cell(image, stride // 2) + rotated


def _moved_by_half_a_cell(
    image: UInt8[np.ndarray, "h w 3"], half_px: int
) -> list[np.ndarray]:
    """The image, and the image moved right, down, and both.

    An edge in the middle of a cell does not look like an edge on its border.
    """
    if not half_px:
        return [image]
    wide = np.pad(image, ((half_px, 0), (half_px, 0), (0, 0)), mode="edge")
    h, w, _ = image.shape
    return [wide[i : i + h, j : j + w] for i in (half_px, 0) for j in (half_px, 0)]
