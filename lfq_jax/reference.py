"""What the shots look like, patch by patch, and how far an image is from that.

A patch memory as in PatchCore (Roth et al. 2022), over the fixed filter bank of
`filters`. A learning detector needs to be told how far two good parts differ: while it
learns, every image is compared with the *other* shots only.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from lfq_jax.filters import describe, group_sizes
from lfq_jax.nearest import from_anywhere, from_in_place, surroundings
from lfq_jax.reference_config import ReferenceConfig

_SHRINKAGE = 1e-2  # of each group's covariance, as a share of its mean variance
_BORDER_CELLS = 16


class Whitening(NamedTuple):
    """Makes the features of a group uncorrelated and each group weigh the same."""

    mean: Float[Array, "f"]
    matrix: Float[Array, "f f"]


class Reference(NamedTuple):
    """The memory of a detector. Arrays only."""

    whitening: Whitening
    patches: Float[Array, "n f"]
    """Whitened features from anywhere on the shots."""
    places: Float[Array, "k h w f"]
    """Whitened features of every place, or k = 0 where places are not compared."""
    usual: Float[Array, "r c"] | None = None
    """How much more `compare` finds on good parts near the border of the image, by how
    many cells away it is; the last row, 0, goes for all that lie deeper."""


def channels(config: ReferenceConfig, *, is_texture: bool) -> int:
    """Channels of `compare`."""
    sizes = group_sizes(config.levels)
    searches = 1 if is_texture or not config.window else 2
    return searches * len(sizes) + (sum(sizes) if config.shows_features else 0)


@functools.partial(jax.jit, static_argnames=("levels", "stride"))
def _features(images: UInt8[Array, "b h w 3"], *, levels: int, stride: int) -> Array:
    return describe(images.astype(jnp.float32) / 255.0, levels=levels, stride=stride)


def _features_of_all(images: Sequence[np.ndarray], levels: int, stride: int) -> Array:
    # One image a call: memory stays small and there is one shape to compile.
    parts = [_features(x[None], levels=levels, stride=stride) for x in images]
    return jnp.concatenate(parts)


def fit_whitening(
    shots: UInt8[np.ndarray, "k h w 3"], config: ReferenceConfig, *, stride: int
) -> Whitening:
    """The whitening of the shots' features, group by group."""
    features = np.asarray(_features_of_all(list(shots), config.levels, stride))
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    mean = flat.mean(0)
    matrix = np.zeros((flat.shape[1], flat.shape[1]))
    start = 0
    for size in group_sizes(config.levels):
        part = slice(start, start + size)
        covariance = np.cov(flat[:, part], rowvar=False)
        variance, axes = np.linalg.eigh(covariance)
        floor = _SHRINKAGE * variance.mean() + 1e-7
        scale = np.sqrt(np.maximum(variance, 0) + floor) * np.sqrt(size)
        matrix[part, part] = axes / scale
        start += size
    return Whitening(jnp.asarray(mean, jnp.float32), jnp.asarray(matrix, jnp.float32))


def remember(
    whitening: Whitening,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    config: ReferenceConfig,
    *,
    stride: int,
    is_texture: bool,
    seed: int,
) -> Reference:
    """The memory of `images`, normal ones."""
    features = _features_of_all(images, config.levels, stride)
    whitened = (features - whitening.mean) @ whitening.matrix
    flat = whitened.reshape(-1, whitened.shape[-1])
    chosen = np.random.default_rng(seed).permutation(len(flat))[: config.patches]
    places = whitened[:0]
    if config.window > 0 and not is_texture:
        moved = [m for image in images for m in _posed(image, stride, config)]
        features = _features_of_all(moved, config.levels, stride)
        places = (features - whitening.mean) @ whitening.matrix
    return Reference(whitening, flat[np.sort(chosen)], places)


def _posed(
    image: UInt8[np.ndarray, "h w 3"], stride: int, config: ReferenceConfig
) -> list[np.ndarray]:
    turned = [_turned(image, turn) for turn in config.turns_deg]
    return _moved(image, stride // 2) + turned


def _turned(image: UInt8[np.ndarray, "h w 3"], turn_deg: float) -> np.ndarray:
    """Turned about the middle, counter-clockwise; outside the border goes on."""
    h, w, _ = image.shape
    down, right = h // 4, w // 4
    wide = np.pad(image, ((down, down), (right, right), (0, 0)), mode="edge")
    turned = Image.fromarray(wide).rotate(turn_deg, resample=Image.Resampling.BICUBIC)
    return np.asarray(turned)[down : down + h, right : right + w]


def _moved(image: UInt8[np.ndarray, "h w 3"], half: int) -> list[np.ndarray]:
    """The image, and moved by half a cell right, down, and both.

    An edge in the middle of a cell does not look like one on its border.
    """
    if not half:
        return [image]
    wide = np.pad(image, ((half, 0), (half, 0), (0, 0)), mode="edge")
    h, w, _ = image.shape
    return [wide[i : i + h, j : j + w] for i in (half, 0) for j in (half, 0)]


def _depth(rows: int, columns: int) -> np.ndarray:
    """How many cells away the nearest border is, 0 at it. [rows columns]"""
    row, column = np.arange(rows), np.arange(columns)
    row, column = np.minimum(row, row[::-1]), np.minimum(column, column[::-1])
    return np.minimum(row[:, None], column)


def usual_distances(found: Float[np.ndarray, "n h w c"]) -> Float[Array, "r c"]:
    """How much more `compare` finds on good parts near the border than far from it.

    At the border a filter sees half as much, and chance looks like a defect there.
    """
    flat = found.reshape(len(found), -1, found.shape[-1]).astype(np.float64)
    by_cell = flat.mean(0)
    depth = np.minimum(_depth(*found.shape[1:3]).ravel(), _BORDER_CELLS)
    counts = np.bincount(depth)
    sums = np.stack([np.bincount(depth, channel) for channel in by_cell.T], axis=-1)
    means = sums / counts[:, None]
    return jnp.asarray(means - means[-1], jnp.float32)


def _by_group(difference: Float[Array, "*batch f"], levels: int) -> Array:
    """Length of the difference in every group of features. [... f] -> [... g]"""
    ends = np.cumsum(group_sizes(levels))[:-1]
    parts = jnp.split(difference * difference, ends, axis=-1)
    return jnp.sqrt(jnp.stack([part.sum(-1) for part in parts], axis=-1))


def compare(
    reference: Reference,
    images: Float[Array, "b H W 3"],
    config: ReferenceConfig,
    *,
    stride: int,
) -> Float[Array, "b h w c"]:
    """How far every cell is from the memory, and what it looks like.

    log(1 + distance), a channel a group of features: from the nearest patch anywhere,
    then, where places are compared, from the nearest in place; less `usual`, where the
    reference has it; then, with `shows_features`, the whitened features themselves.
    """
    features = describe(images, levels=config.levels, stride=stride)
    whitened = (features - reference.whitening.mean) @ reference.whitening.matrix

    compares_places = bool(reference.places.shape[0])
    near = surroundings(reference.places, config.window) if compares_places else None

    def of_image(query: Float[Array, "h w f"]) -> Array:
        found = [_by_group(from_anywhere(query, reference.patches), config.levels)]
        if near is not None:
            found.append(_by_group(from_in_place(query, near), config.levels))
        distances = jnp.concatenate([jnp.log1p(x) for x in found], axis=-1)
        if reference.usual is not None:
            depth = _depth(*query.shape[:2]).clip(max=len(reference.usual) - 1)
            distances = distances - reference.usual[depth]
        if not config.shows_features:
            return distances
        return jnp.concatenate([distances, query], axis=-1)

    return jax.lax.map(of_image, whitened)
