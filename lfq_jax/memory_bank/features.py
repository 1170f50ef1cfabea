"""Features of every cell of an image, from the filter bank and from a backbone.

The fixed filter bank is one source, unless a backbone replaces it. Each stage of a
backbone is one more source, on a grid of its own. The last source is the deepest stage
again, not averaged over its cells.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.backbones import Backbone, Stage, network_from_text
from lfq_jax.config import BackboneConfig, MemoryBankConfig
from lfq_jax.memory_bank.filter_bank import describe, group_sizes
from lfq_jax.memory_bank.projection import Projection, principal_components, whitening
from lfq_jax.ops.precision import exact_products

LENGTH = 4.0
"""Length of a stage's feature vector in every cell. Good parts then differ about as
much in a stage as in the filter bank's whitened features."""


class FeatureExtractor(NamedTuple):
    """Turns images into features. Arrays only."""

    filters: Projection | None
    """Whitens the filter bank's responses, group by group. None if the filter bank is
    not compared."""
    targets: Projection | None = None
    """From the stages' features to those that the decoder is to reconstruct."""
    backbone: dict[str, Array] | None = None
    """The backbone's weights."""


class PatchFeatures(NamedTuple):
    """What `extract` computes from images."""

    by_source: tuple[Float[Array, "b _ _ _"], ...]
    """Features to compare: the filter bank's on the grid of cells, if they are
    compared, then each stage's on its own grid, and the deepest stage's again, not
    averaged, if it is compared."""
    reconstruction_targets: Float[Array, "b h w r"]
    """Features that the decoder is to reconstruct, on the grid of cells. r = 0 without
    a backbone."""


def group_sizes_by_source(config: MemoryBankConfig) -> tuple[tuple[int, ...], ...]:
    """Number of projected features in each group, for each source."""
    levels = config.filter_levels
    sources = (group_sizes(levels),) if levels else ()
    return sources + tuple((stage.channels,) for stage in stages_compared(config))


def stages_of(config: BackboneConfig) -> tuple[Stage, ...]:
    """The stages of the backbone whose features are used."""
    stages = {stage.name: stage for stage in network_from_text(config.network).stages}
    return tuple(stages[name] for name in config.stages)


def stages_compared(config: MemoryBankConfig) -> tuple[Stage, ...]:
    """The backbone's stage of each source that is one: the deepest may come twice."""
    if config.backbone is None:
        return ()
    stages = stages_of(config.backbone)
    return stages + stages[-1:] if config.compares_deepest else stages


def reconstructed_sizes(config: MemoryBankConfig | None) -> tuple[int, ...]:
    """Number of features of each backbone stage that the decoder reconstructs."""
    if config is None or config.backbone is None or not config.backbone.reconstructed:
        return ()
    count = config.backbone.reconstructed
    return tuple(min(count, stage.channels) for stage in stages_of(config.backbone))


@exact_products
def extract(
    extractor: FeatureExtractor,
    images: Float[Array, "b H W 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> PatchFeatures:
    """Features of images in [0, 1], to compare and to reconstruct.

    Args:
      stride: side of a cell in pixels. The grid has one cell for every
        `stride` x `stride` pixels.

    Raises:
      ValueError: where the config names a backbone and the extractor has no weights.
    """
    grid = images.shape[1] // stride, images.shape[2] // stride
    filters = ()
    if config.filter_levels:
        assert extractor.filters is not None
        responses = describe(images, levels=config.filter_levels, stride=stride)
        filters = (extractor.filters(responses),)
    nothing = jnp.zeros((images.shape[0], *grid, 0), images.dtype)
    if config.backbone is None:
        return PatchFeatures(filters, nothing)
    if extractor.backbone is None:
        raise ValueError("a memory bank with a backbone needs the backbone's weights")
    maps = _stage_maps(extractor.backbone, images, config.backbone)
    stages = [_of_one_length(_mean_3x3(x)) for x in maps]
    deepest = [_of_one_length(maps[-1])] if config.compares_deepest else []
    sources = *filters, *stages, *deepest
    if extractor.targets is None:
        return PatchFeatures(sources, nothing)
    return PatchFeatures(sources, extractor.targets(_on_grid(stages, grid)))


def _stage_maps(
    weights: dict[str, Array], images: Float[Array, "b H W 3"], config: BackboneConfig
) -> list[Float[Array, "b _ _ _"]]:
    """The maps of the stages, as the network computes them."""
    backbone = Backbone(weights, network_from_text(config.network))
    return list(backbone.features(images, config.stages))


def _stage_features(
    weights: dict[str, Array], images: Float[Array, "b H W 3"], config: BackboneConfig
) -> list[Float[Array, "b _ _ _"]]:
    """Each stage's features, averaged over 3 x 3 of its cells (the locally aware
    features of Roth et al. 2022)."""
    maps = _stage_maps(weights, images, config)
    return [_of_one_length(_mean_3x3(x)) for x in maps]


def _of_one_length(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The features scaled to one length in every cell. A network without batch norms
    responds more strongly where the image is bright."""
    return LENGTH * x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)


def _mean_3x3(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def _on_grid(
    stages: Sequence[Float[Array, "b _ _ _"]], grid: tuple[int, ...]
) -> Float[Array, "b h w f"]:
    resized = [
        jax.image.resize(x, (len(x), *grid, x.shape[-1]), "bilinear", antialias=False)
        for x in stages
    ]
    return jnp.concatenate(resized, axis=-1)


def joined_stages(
    weights: dict[str, Array], images: Float[Array, "b H W 3"], config: BackboneConfig
) -> Float[Array, "b h w f"]:
    """Features of all stages, each of one length, on the grid of the finest stage."""
    stages = _stage_features(weights, images, config)
    return _on_grid(stages, max(stage.shape[1:3] for stage in stages))


@exact_products
def fit_feature_extractor(
    shots: UInt8[np.ndarray, "k h w 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
    backbone: Backbone | None = None,
) -> FeatureExtractor:
    """Fit the projections to the shots' features, group by group.

    Raises:
      ValueError: if there is no shot, or the config names a backbone and `backbone` is
        missing.
    """
    if not len(shots):
        raise ValueError("shots must be one image or more, got none")
    one_by_one = [shot[None] for shot in shots]
    filters = None
    if levels := config.filter_levels:
        responses = _as_rows(
            _filter_responses(shot, levels=levels, stride=stride) for shot in one_by_one
        )
        filters = whitening(responses, group_sizes(levels))
    if config.backbone is None:
        return FeatureExtractor(filters)
    if backbone is None:
        raise ValueError("a memory bank with a backbone needs the backbone's weights")
    if not config.backbone.reconstructed:
        return FeatureExtractor(filters, backbone=backbone.arrays)
    raw = _as_rows(
        _stage_features_on_grid(
            backbone.arrays, shot, config=config.backbone, stride=stride
        )
        for shot in one_by_one
    )
    widths = tuple(stage.channels for stage in stages_of(config.backbone))
    targets = principal_components(raw, widths, config.backbone.reconstructed)
    return FeatureExtractor(filters, targets, backbone.arrays)


def _as_rows(parts: Iterable[Array]) -> Float[np.ndarray, "n f"]:
    features = np.concatenate([np.asarray(part) for part in parts])
    return features.reshape(-1, features.shape[-1])


def extract_from_images(
    extractor: FeatureExtractor,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> tuple[Float[Array, "n _ _ _"], ...]:
    """Features by source of 8-bit images.

    Computed one image a call: memory stays small, and only one shape is compiled.
    """
    parts = [
        jax.device_get(_by_source(extractor, image[None], config=config, stride=stride))
        for image in images
    ]
    joined = [np.concatenate(source) for source in zip(*parts, strict=True)]
    return tuple(jax.device_put(joined))


def _unit(images: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    return images.astype(jnp.float32) / 255.0


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _by_source(
    extractor: FeatureExtractor, images: Array, *, config: MemoryBankConfig, stride: int
) -> tuple[Array, ...]:
    return extract(extractor, _unit(images), config, stride=stride).by_source


@functools.partial(jax.jit, static_argnames=("levels", "stride"))
def _filter_responses(images: Array, *, levels: int, stride: int) -> Array:
    return describe(_unit(images), levels=levels, stride=stride)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _stage_features_on_grid(
    weights: dict[str, Array], images: Array, *, config: BackboneConfig, stride: int
) -> Array:
    grid = images.shape[1] // stride, images.shape[2] // stride
    return _on_grid(_stage_features(weights, _unit(images), config), grid)
