"""The memory bank: patches of the shots, poses, orientation and border baseline.

A patch memory as in PatchCore (Roth et al. 2022), over the features of `features.py`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.deepest import DeepestStatistics
from lfq_jax.memory_bank.feature_residuals import (
    FeatureResiduals,
    ReconstructionStatistics,
    fit_feature_residuals,
)
from lfq_jax.memory_bank.features import FeatureExtractor, extract_from_images
from lfq_jax.memory_bank.map_channels import map_channels
from lfq_jax.memory_bank.orientation import Orientation, fit_orientation
from lfq_jax.memory_bank.pose_search import Poses, build_poses
from lfq_jax.memory_bank.searches import Search, searches
from lfq_jax.memory_bank.subsampling import sample
from lfq_jax.ops.precision import exact_products
from lfq_jax.ops.rotation import rotate_image


class FeatureBank(NamedTuple):
    """The shots' projected features from one source. Arrays only."""

    anywhere: Float[Array, "n g"]
    """Patches from anywhere on the shots. n = 0 where they are not searched."""
    in_place: Float[Array, "k h w g"]
    """Features of every cell of the shots, slightly moved and rotated: all variants of
    the first shot, then of the next one. k = 0 where there is no window search."""


class MemoryBank(NamedTuple):
    """What a detector compares an image with. Arrays only."""

    extractor: FeatureExtractor
    filters: FeatureBank | None
    stages: tuple[FeatureBank, ...] = ()
    """One bank for each stage of the backbone, and one more for the deepest stage, not
    averaged, where it is compared."""
    poses: Poses | None = None
    """The rotated shots, where images are compared in other poses as well."""
    orientation: Orientation | None = None
    """For textures: how the shots' grain runs."""
    border_baseline: Float[Array, "r c"] | None = None
    """Additional distance that good parts have near the image's border, by distance
    from the border in cells. The last row is 0 and applies to all deeper cells."""
    deepest: DeepestStatistics | None = None
    """With a backbone: how far good parts are by the deepest stage. Fitted to what the
    banks of fewer shots compare, which have none."""
    residuals: FeatureResiduals | None = None
    """Fitted to the shots' coarse features, where their residuals are distances."""
    reconstruction: ReconstructionStatistics | None = None
    """How far good parts are from their reconstruction, where the map follows it.
    Fitted as `deepest`."""

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

    by_source = searches(config, is_texture=is_texture)
    shown = _features_anywhere(features_of, images, config, by_source)
    anywhere = _patches_anywhere(shown, config, by_source, seed)
    residuals = fit_feature_residuals(shown, config, is_texture=is_texture, seed=seed)
    has_window = any(search.in_window for search in by_source)
    placed = images[:1]  # for the features' shapes alone
    if has_window:
        placed = [v for image in images for v in _variants(image, stride, config)]
    in_place = features_of(placed)
    banks = [
        FeatureBank(patches, cells if search.in_window else _none_of(cells))
        for patches, cells, search in zip(anywhere, in_place, by_source, strict=True)
    ]
    poses = None
    if has_window and config.poses and config.backbone is None:
        poses = build_poses(list(images), lambda image: features_of([image])[0][0])
    orientation = None
    if map_channels(config, is_texture=is_texture).orientation:
        orientation = fit_orientation(images, seed=seed)
    filters = banks.pop(0) if config.filter_levels else None
    return MemoryBank(
        extractor, filters, tuple(banks), poses, orientation, residuals=residuals
    )


def _none_of(cells: Float[Array, "k h w g"]) -> Float[Array, "0 h w g"]:
    return jax.device_put(np.zeros((0, *cells.shape[1:]), cells.dtype))


def _features_anywhere(
    features_of: Callable[[Sequence[np.ndarray]], tuple[Array, ...]],
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    config: MemoryBankConfig,
    by_source: Sequence[Search],
) -> list[tuple[Float[Array, "_ _ _ _"], ...]]:
    """The features of the shots by source, in groups of one shape; of rotated shots as
    well where these are searched."""
    if any(search.rotated for search in by_source):
        turns = [360 * i / config.rotations for i in range(config.rotations)]
        images = [rotate_image(image, turn) for image in images for turn in turns]
    # Textures may be turned by 90 degrees.
    upright = [image for image in images if image.shape == images[0].shape]
    turned = [image for image in images if image.shape != images[0].shape]
    return [features_of(group) for group in (upright, turned) if group]


def _patches_anywhere(
    shown: Sequence[tuple[Float[Array, "_ _ _ _"], ...]],
    config: MemoryBankConfig,
    by_source: Sequence[Search],
    seed: int,
) -> list[Float[Array, "n g"]]:
    """The patches from anywhere on the shots, of each source; none where they are not
    searched."""
    patches = []
    for number, search in enumerate(by_source):
        features = [np.asarray(each[number]) for each in shown]
        rows = [each.reshape(-1, each.shape[-1]) for each in features]
        count = _patch_count(config, number) if search.anywhere else 0
        patches.append(sample(np.concatenate(rows), count, seed=seed))
    return patches


def _patch_count(config: MemoryBankConfig, source: int) -> int:
    """How many patches the bank keeps of a source."""
    is_filters = source == 0 and config.filter_levels > 0
    if is_filters or config.backbone is None:
        return config.patches
    return config.backbone.patches


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
