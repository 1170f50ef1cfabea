"""Unit-length features of every cell of an image, for the training-free detectors."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.backbones import Backbone
from lfq_jax.config import MemoryBankConfig, TrainingFreeConfig
from lfq_jax.memory_bank.features import (
    FeatureExtractor,
    extract,
    fit_feature_extractor,
    joined_stages,
    stages_of,
)
from lfq_jax.memory_bank.filter_bank import group_sizes
from lfq_jax.memory_bank.projection import Projection
from lfq_jax.ops.precision import exact_products
from lfq_jax.ops.rotation import rotate

FILTER_STRIDE = 8
"""Side in pixels of a cell of the filter bank, as of the stages of stride 8."""
_LIFT = 3.0
"""Constant that is appended to the filter bank's features, in multiples of their usual
length. Whitened features are centred, so the direction alone of an ordinary patch is
chance, and an unusual patch differs in length. With the constant, the angle between two
patches measures how far they are apart. A backbone's features need no constant."""
_TINY = 1e-12


class PatchExtractor(NamedTuple):
    """Turns images into features. Exactly one of the fields is set."""

    filters: Projection | None = None
    """Whitens the filter bank's responses."""
    backbone: dict[str, Array] | None = None
    """The backbone's weights."""


def fit_patch_extractor(
    shots: UInt8[np.ndarray, "k h w 3"],
    config: TrainingFreeConfig,
    *,
    backbone: Backbone | None = None,
) -> PatchExtractor:
    """The extractor of a category. Only the filter bank's is fitted to its shots.

    Raises:
      ValueError: if there is no shot, or the config names a backbone and `backbone` is
        missing.
    """
    if not len(shots):
        raise ValueError("shots must be one image or more, got none")
    if config.backbone is None:
        fitted = fit_feature_extractor(
            shots, _filter_bank(config), stride=FILTER_STRIDE
        )
        return PatchExtractor(filters=fitted.filters)
    if backbone is None:
        raise ValueError("a config with a backbone needs the backbone's weights")
    return PatchExtractor(backbone=backbone.arrays)


def _filter_bank(config: TrainingFreeConfig) -> MemoryBankConfig:
    return MemoryBankConfig(levels=config.levels)


@exact_products
def patch_features(
    extractor: PatchExtractor,
    images: Float[Array, "b H W 3"],
    config: TrainingFreeConfig,
) -> Float[Array, "b h w f"]:
    """Features of length 1 in every cell of images in [0, 1].

    The stages of a backbone are joined on the grid of the finest stage. Each stage has
    the same length before that. Features of the filter bank get a constant; see
    `_LIFT`.
    """
    if config.backbone is not None:
        assert extractor.backbone is not None
        joined = joined_stages(extractor.backbone, images, config.backbone)
    else:
        assert extractor.filters is not None
        filters = FeatureExtractor(extractor.filters)
        bank = _filter_bank(config)
        (whitened,) = extract(filters, images, bank, stride=FILTER_STRIDE).by_source
        # The variances of a group of whitened features add up to about 1.
        lift = _LIFT * len(group_sizes(config.levels)) ** 0.5
        constant = jnp.full_like(whitened[..., :1], lift)
        joined = jnp.concatenate([whitened, constant], axis=-1)
    return unit_length(joined)


def unit_length(x: Float[Array, "*b f"]) -> Float[Array, "*b f"]:
    """The vectors, divided by their Euclidean lengths."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), _TINY)


def feature_sizes(config: TrainingFreeConfig) -> tuple[int, ...]:
    """Number of features of each stage; of the filter bank all together."""
    if config.backbone is not None:
        return tuple(stage.channels for stage in stages_of(config.backbone))
    return (sum(group_sizes(config.levels)) + 1,)


def rotated_features(
    extractor: PatchExtractor,
    shot: UInt8[np.ndarray, "h w 3"],
    turns_deg: Sequence[float],
    config: TrainingFreeConfig,
) -> list[Float[Array, "gh gw f"]]:
    """The features of every cell of a shot, for each rotation.

    Outside a rotated shot, the shot is mirrored. Computed one rotation a call, so that
    memory stays small.
    """
    return [
        _features_of_rotated(extractor, shot, np.float32(turn), config=config)
        for turn in turns_deg
    ]


@functools.partial(jax.jit, static_argnames="config")
def _features_of_rotated(
    extractor: PatchExtractor,
    shot: UInt8[Array, "h w 3"],
    turn_deg: Float[Array, ""],
    *,
    config: TrainingFreeConfig,
) -> Float[Array, "gh gw f"]:
    rotated = rotate(shot.astype(jnp.float32) / 255.0, turn_deg)
    return patch_features(extractor, rotated[None], config)[0]
