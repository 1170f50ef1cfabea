"""How a detector sees an image: projected features of every cell of a grid.

Always those of the fixed filter bank; with an encoder, those of a pretrained network
beside them, as a second kind that is compared on its own.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.encoders import Encoder, network_from_text
from lfq_jax.filters import describe, group_sizes
from lfq_jax.memory import Projection, principal_components, whitening
from lfq_jax.reference_config import EncoderConfig, ReferenceConfig


class Sight(NamedTuple):
    """What turns images into features. Arrays only."""

    filters: Projection
    encoder: Projection | None = None
    weights: dict[str, Array] | None = None
    """The encoder's own."""


def sizes_by_kind(config: ReferenceConfig) -> tuple[tuple[int, ...], ...]:
    """Projected features in each group, for each kind of feature."""
    of_filters = group_sizes(config.levels)
    if config.encoder is None:
        return (of_filters,)
    widths = _stage_widths(config.encoder)
    return of_filters, tuple(min(config.encoder.components, w) for w in widths)


def _stage_widths(config: EncoderConfig) -> tuple[int, ...]:
    stages = {s.name: s.channels for s in network_from_text(config.network).stages}
    return tuple(stages[name] for name in config.stages)


def reconstructed_sizes(config: ReferenceConfig | None) -> tuple[int, ...]:
    """How many features of each of the encoder's stages the decoder gives back."""
    if config is None or config.encoder is None or not config.encoder.reconstructed:
        return ()
    return tuple(min(config.encoder.reconstructed, s) for s in sizes_by_kind(config)[1])


def to_reconstruct(
    encoded: Float[Array, "*b f"], config: ReferenceConfig
) -> Float[Array, "*b r"]:
    """The widest of every stage's components, of all of them."""
    ends = np.cumsum(sizes_by_kind(config)[1])[:-1]
    stages = jnp.split(encoded, ends, axis=-1)
    sizes = reconstructed_sizes(config)
    widest = [x[..., :n] for x, n in zip(stages, sizes, strict=True)]
    return jnp.concatenate(widest, axis=-1)


def see(
    sight: Sight,
    images: Float[Array, "b H W 3"],
    config: ReferenceConfig,
    *,
    stride: int,
) -> tuple[Float[Array, "b h w _"], ...]:
    """Projected features of every cell of `stride` x `stride` pixels, for each kind."""
    filters = describe(images, levels=config.levels, stride=stride)
    found = (sight.filters(filters),)
    if config.encoder is None:
        return found
    if sight.encoder is None or sight.weights is None:
        raise ValueError("a reference with an encoder needs the encoder's weights")
    raw = _encoded(sight.weights, images, config.encoder, stride=stride)
    return *found, sight.encoder(raw)


def _encoded(
    weights: dict[str, Array],
    images: Float[Array, "b H W 3"],
    config: EncoderConfig,
    *,
    stride: int,
) -> Float[Array, "b h w f"]:
    """The stages' maps on one grid, each a mean over 3 x 3 of its own cells (the
    locally aware features of Roth et al. 2022)."""
    encoder = Encoder(weights, network_from_text(config.network))
    b, height, width, _ = images.shape
    grid = height // stride, width // stride
    maps = encoder.features(images, config.stages)
    pooled = [_mean_3x3(stage) for stage in maps]
    on_grid = [
        jax.image.resize(x, (b, *grid, x.shape[-1]), "bilinear", antialias=False)
        for x in pooled
    ]
    return jnp.concatenate(on_grid, axis=-1)


def _mean_3x3(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def fit_sight(
    shots: UInt8[np.ndarray, "k h w 3"],
    config: ReferenceConfig,
    *,
    stride: int,
    encoder: Encoder | None = None,
) -> Sight:
    """The projections of the shots' features, group by group."""
    one_by_one = [shot[None] for shot in shots]
    filters = _flat(
        _described(shot, levels=config.levels, stride=stride) for shot in one_by_one
    )
    of_filters = whitening(filters, group_sizes(config.levels))
    if config.encoder is None:
        return Sight(of_filters)
    if encoder is None:
        raise ValueError("a reference with an encoder needs the encoder's weights")
    raw = _flat(
        _encoded_bytes(encoder.arrays, shot, config=config.encoder, stride=stride)
        for shot in one_by_one
    )
    widths = _stage_widths(config.encoder)
    components = principal_components(raw, widths, config.encoder.components)
    return Sight(of_filters, components, encoder.arrays)


def _flat(parts) -> np.ndarray:
    found = np.concatenate([np.asarray(part) for part in parts])
    return found.reshape(-1, found.shape[-1])


def seen(
    sight: Sight,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    config: ReferenceConfig,
    *,
    stride: int,
) -> tuple[Float[Array, "n gh gw _"], ...]:
    """`see` of photographs, one a call: memory stays small, one shape is compiled."""
    parts = [_see_bytes(sight, x[None], config=config, stride=stride) for x in images]
    return tuple(jnp.concatenate(kind) for kind in zip(*parts, strict=True))


def seen_by_filters(
    sight: Sight,
    image: UInt8[np.ndarray, "h w 3"],
    config: ReferenceConfig,
    *,
    stride: int,
) -> Float[Array, "gh gw f"]:
    """What `see` finds of the first kind in one photograph."""
    filters_only = Sight(sight.filters)
    without = dataclasses.replace(config, encoder=None)
    return seen(filters_only, [image], without, stride=stride)[0][0]


def _unit(images: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    return images.astype(jnp.float32) / 255.0


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _see_bytes(sight: Sight, images: Array, *, config: ReferenceConfig, stride: int):
    return see(sight, _unit(images), config, stride=stride)


@functools.partial(jax.jit, static_argnames=("levels", "stride"))
def _described(images: Array, *, levels: int, stride: int) -> Array:
    return describe(_unit(images), levels=levels, stride=stride)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _encoded_bytes(
    weights: dict[str, Array], images: Array, *, config: EncoderConfig, stride: int
) -> Array:
    return _encoded(weights, _unit(images), config, stride=stride)
