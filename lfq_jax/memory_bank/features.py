"""How a detector sees an image: features of every cell of a grid, of several kinds.

Always those of the fixed filter bank; with an encoder, those of each of a pretrained
network's stages beside them, as kinds of their own on grids of their own.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.backbones import Backbone, network_from_text
from lfq_jax.config import BackboneConfig, MemoryBankConfig
from lfq_jax.memory_bank.filter_bank import describe, group_sizes
from lfq_jax.memory_bank.projection import Projection, principal_components, whitening
from lfq_jax.ops.precision import exact_products

_LENGTH = 4.0
"""Of a stage's features in a cell: good parts then differ about as much as in the
filters' whitened features."""


class FeatureExtractor(NamedTuple):
    """What turns images into features. Arrays only."""

    filters: Projection
    widest: Projection | None = None
    """From the stages' features to those that the decoder is to give back."""
    weights: dict[str, Array] | None = None
    """The encoder's own."""


class PatchFeatures(NamedTuple):
    """What `see` finds in images."""

    kinds: tuple[Float[Array, "b _ _ _"], ...]
    """What is compared: the filters' projected features on the grid of cells, then
    every stage's features on its own grid, of one length in every cell."""
    widest: Float[Array, "b h w r"]
    """What the decoder is to give back, on the grid of cells."""


def sizes_by_kind(config: MemoryBankConfig) -> tuple[tuple[int, ...], ...]:
    """Projected features in each group, for each kind of feature."""
    kinds = (group_sizes(config.levels),)
    if config.encoder is None:
        return kinds
    return kinds + tuple((width,) for width in _stage_widths(config.encoder))


def _stage_widths(config: BackboneConfig) -> tuple[int, ...]:
    stages = {s.name: s.channels for s in network_from_text(config.network).stages}
    return tuple(stages[name] for name in config.stages)


def reconstructed_sizes(config: MemoryBankConfig | None) -> tuple[int, ...]:
    """How many features of each of the encoder's stages the decoder gives back."""
    if config is None or config.encoder is None or not config.encoder.reconstructed:
        return ()
    count = config.encoder.reconstructed
    return tuple(min(count, width) for width in _stage_widths(config.encoder))


@exact_products
def extract(
    sight: FeatureExtractor,
    images: Float[Array, "b H W 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> PatchFeatures:
    """What is compared of images, and what is reconstructed of them.

    The grid of cells has one for every `stride` x `stride` pixels.
    """
    filters = sight.filters(describe(images, levels=config.levels, stride=stride))
    if config.encoder is None:
        return PatchFeatures((filters,), filters[..., :0])
    if sight.weights is None:
        raise ValueError("a reference with an encoder needs the encoder's weights")
    stages = _encoded(sight.weights, images, config.encoder)
    if sight.widest is None:
        return PatchFeatures((filters, *stages), filters[..., :0])
    widest = sight.widest(_on_grid(stages, filters.shape[1:3]))
    return PatchFeatures((filters, *stages), widest)


def _encoded(
    weights: dict[str, Array], images: Float[Array, "b H W 3"], config: BackboneConfig
) -> list[Float[Array, "b _ _ _"]]:
    """The stages' maps, each a mean over 3 x 3 of its own cells (the locally aware
    features of Roth et al. 2022) and of one length in every cell: a network without
    batch norms is loud where the image is bright."""
    encoder = Backbone(weights, network_from_text(config.network))
    pooled = [_mean_3x3(x) for x in encoder.features(images, config.stages)]
    lengths = [jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6 for x in pooled]
    return [_LENGTH * x / n for x, n in zip(pooled, lengths, strict=True)]


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


@exact_products
def fit_feature_extractor(
    shots: UInt8[np.ndarray, "k h w 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
    encoder: Backbone | None = None,
) -> FeatureExtractor:
    """The projections of the shots' features, group by group."""
    one_by_one = [shot[None] for shot in shots]
    filters = _flat(
        _described(shot, levels=config.levels, stride=stride) for shot in one_by_one
    )
    of_filters = whitening(filters, group_sizes(config.levels))
    if config.encoder is None:
        return FeatureExtractor(of_filters)
    if encoder is None:
        raise ValueError("a reference with an encoder needs the encoder's weights")
    if not config.encoder.reconstructed:
        return FeatureExtractor(of_filters, weights=encoder.arrays)
    raw = _flat(
        _encoded_bytes(encoder.arrays, shot, config=config.encoder, stride=stride)
        for shot in one_by_one
    )
    widths, count = _stage_widths(config.encoder), config.encoder.reconstructed
    return FeatureExtractor(
        of_filters, principal_components(raw, widths, count), encoder.arrays
    )


def _flat(parts) -> np.ndarray:
    found = np.concatenate([np.asarray(part) for part in parts])
    return found.reshape(-1, found.shape[-1])


def extract_from_images(
    sight: FeatureExtractor,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> tuple[Float[Array, "n _ _ _"], ...]:
    """The kinds that `see` finds in photographs, one a call: memory stays small, one
    shape is compiled."""
    parts = [_see_bytes(sight, x[None], config=config, stride=stride) for x in images]
    return tuple(jnp.concatenate(kind) for kind in zip(*parts, strict=True))


def extract_filters(
    sight: FeatureExtractor,
    image: UInt8[np.ndarray, "h w 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> Float[Array, "gh gw f"]:
    """What `see` finds of the first kind in one photograph."""
    filters_only = FeatureExtractor(sight.filters)
    without = dataclasses.replace(config, encoder=None)
    return extract_from_images(filters_only, [image], without, stride=stride)[0][0]


def _unit(images: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    return images.astype(jnp.float32) / 255.0


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _see_bytes(
    sight: FeatureExtractor, images: Array, *, config: MemoryBankConfig, stride: int
):
    return extract(sight, _unit(images), config, stride=stride).kinds


@functools.partial(jax.jit, static_argnames=("levels", "stride"))
def _described(images: Array, *, levels: int, stride: int) -> Array:
    return describe(_unit(images), levels=levels, stride=stride)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _encoded_bytes(
    weights: dict[str, Array], images: Array, *, config: BackboneConfig, stride: int
) -> Array:
    grid = images.shape[1] // stride, images.shape[2] // stride
    return _on_grid(_encoded(weights, _unit(images), config), grid)
