"""PatchCore (Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection").

A memory of the good parts' patches, as a frozen encoder sees them; an image is as
anomalous as its patches are far from it.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8

from datasets.images import to_square
from lfq_jax.backbones import Backbone
from lfq_jax.inference.predictor import ImagePrediction
from lfq_jax.ops.gaussian import gaussian_smooth
from lfq_jax.ops.precision import exact_products

MAX = "max"
REWEIGHTED = "reweighted"
"""Image scores: the largest distance of a patch, and that by how usual its nearest
patch of the memory is."""
PROJECTED = 128
"""Dimensions in which the coreset is searched (official implementation)."""
_TINY = 1e-6
_WINDOW_SIGMAS = 4.0  # where the Gaussian window is cut, as scipy's filter has it


class View(NamedTuple):
    """What is taken of an encoder."""

    stages: tuple[str, ...]
    image_px: int
    """Side of the squares that the encoder sees."""
    unit_length: bool = False
    """Whether every stage's features have length 1 in every cell."""


def usual_stages(encoder: Backbone) -> tuple[str, ...]:
    """The last stages of stride 8 and of stride 16, which are the paper's layer2 and
    layer3 in a ResNet; where there are none, the last stage."""
    last = {stage.stride: stage.name for stage in encoder.stages}
    return tuple(last[s] for s in (8, 16) if s in last) or (encoder.stages[-1].name,)


def _locally_aware(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Mean over the 3x3 cells about each, of those that there are (eq. 2)."""
    window = functools.partial(
        jax.lax.reduce_window,
        init_value=0.0,
        computation=jax.lax.add,
        window_dimensions=(1, 3, 3, 1),
        window_strides=(1, 1, 1, 1),
        padding="SAME",
    )
    return window(x) / window(jnp.ones((1, *x.shape[1:3], 1)))


@functools.partial(jax.jit, static_argnames="view")
@exact_products
def patch_features(
    encoder: Backbone, images: Float[Array, "b H W 3"], view: View
) -> Float[Array, "b h w f"]:
    """Locally aware features of all stages, at the finest stage's grid."""
    maps = [_locally_aware(x) for x in encoder.features(images, view.stages)]
    if view.unit_length:
        maps = [x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + _TINY) for x in maps]
    height, width = max(x.shape[1:3] for x in maps)
    resized = [
        jax.image.resize(x, (len(x), height, width, x.shape[-1]), "bilinear")
        for x in maps
    ]
    return jnp.concatenate(resized, axis=-1)


@functools.partial(jax.jit, static_argnames="count")
@exact_products
def farthest_first(
    points: Float[Array, "n f"], first: Int32[Array, ""], *, count: int
) -> Int32[Array, "m"]:
    """Indices of `count` points, each the farthest from those before it (alg. 1)."""

    def away(index: Array) -> Array:
        difference = points - points[index]
        return (difference * difference).sum(-1)

    def add(position: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        index = nearest.argmax().astype(jnp.int32)
        return chosen.at[position].set(index), jnp.minimum(nearest, away(index))

    chosen = jnp.full(count, first, jnp.int32)
    return jax.lax.fori_loop(1, count, add, (chosen, away(first)))[0]


def coreset(
    patches: Float[Array, "n f"], share: float, seed: int
) -> Float[Array, "m f"]:
    """The share of the patches that covers them best, searched in a projection."""
    if share >= 1:
        return patches
    first_key, projection_key = jax.random.split(jax.random.key(seed))
    width = patches.shape[1]
    projection = jax.random.normal(projection_key, (width, min(PROJECTED, width)))
    first = jax.random.randint(first_key, (), 0, len(patches))
    count = max(1, round(share * len(patches)))
    return patches[farthest_first(patches @ projection, first, count=count)]


class PatchMemory(NamedTuple):
    """What is known of the good parts."""

    encoder: Backbone
    patches: Float[Array, "n f"]


def remember(
    encoder: Backbone,
    shots: Iterable[UInt8[np.ndarray, "H W 3"]],
    view: View,
    *,
    share: float,
    seed: int,
) -> PatchMemory:
    """The memory of good parts of any size.

    Args:
      share: of the patches that is kept, in (0, 1]; 1 keeps the whole memory.
      seed: of the coreset's first patch and of its projection.
    """
    found = [
        patch_features(encoder, _unit(to_square(shot, view.image_px)[None]), view)
        for shot in shots
    ]
    patches = jnp.concatenate(found).reshape(-1, found[0].shape[-1])
    return PatchMemory(encoder, coreset(patches, share, seed))


def _unit(images: UInt8[np.ndarray, "b h w 3"]) -> Float[Array, "b h w 3"]:
    return jnp.asarray(images, jnp.float32) / 255.0


def _squared(query: Float[Array, "p f"], patches: Float[Array, "n f"]) -> Array:
    """Squared distances. [p n]"""
    of_query = (query * query).sum(-1)[:, None]
    of_patches = (patches * patches).sum(-1)[None]
    return jnp.maximum(of_query + of_patches - 2 * query @ patches.T, 0.0)


def _weight(
    patch: Float[Array, "f"], patches: Float[Array, "n f"], nearest: Array, count: int
) -> Float[Array, ""]:
    """1 - softmax: small where the nearest patch is itself a rare one (eq. 7).

    Over the nearest patch and its own neighbours, `count` patches together.
    """
    about = _squared(patches[nearest][None], patches)[0].at[nearest].set(-1.0)
    neighbours = patches[jax.lax.top_k(-about, count)[1]]
    distances = jnp.sqrt(_squared(patch[None], neighbours)[0])
    return 1.0 - jax.nn.softmax(distances)[0]


def _of_image(
    patches: Float[Array, "n f"], features: Float[Array, "h w f"], count: int
) -> tuple[Array, Array, Array]:
    """Distances, the largest one, and that re-weighted (eq. 6 and 7)."""
    flat = features.reshape(-1, features.shape[-1])
    squared = _squared(flat, patches)
    distances = jnp.sqrt(squared.min(-1))
    farthest = distances.argmax()
    nearest = squared[farthest].argmin()
    weight = _weight(flat[farthest], patches, nearest, count)
    largest = distances[farthest]
    return distances.reshape(features.shape[:2]), largest, weight * largest


@functools.partial(jax.jit, static_argnames=("view", "neighbours", "sigma_px"))
@exact_products
def _score(
    memory: PatchMemory,
    images: Float[Array, "b h w 3"],
    *,
    view: View,
    neighbours: int,
    sigma_px: float,
) -> tuple[Array, dict[str, Array]]:
    features = patch_features(memory.encoder, images, view)
    count = min(neighbours, len(memory.patches))
    distances, largest, weighted = jax.lax.map(
        lambda each: _of_image(memory.patches, each, count), features
    )
    fine = jax.image.resize(distances, images.shape[:3], "bilinear")[..., None]
    if sigma_px > 0:
        window_px = 2 * round(_WINDOW_SIGMAS * sigma_px) + 1
        fine = gaussian_smooth(fine, window_px=window_px, sigma_px=sigma_px)
    return fine[..., 0], {MAX: largest, REWEIGHTED: weighted}


def predict_patches(
    memory: PatchMemory,
    images: Iterable[UInt8[np.ndarray, "H W 3"]],
    view: View,
    *,
    neighbours: int,
    sigma_px: float,
) -> Iterator[ImagePrediction]:
    """Score images of any size, in their order, one at a time.

    The maps are distances in the features' own unit, at the encoder's resolution.

    Args:
      view: as for `remember`.
      neighbours: the paper's b, patches that the image score is weighted over; 1 would
        weigh every score 0.
      sigma_px: of the Gaussian that the map is smoothed with, in pixels of the view.
    """
    for image in images:
        maps, scores = _score(
            memory,
            _unit(to_square(image, view.image_px)[None]),
            view=view,
            neighbours=neighbours,
            sigma_px=sigma_px,
        )
        of_image = {name: float(value[0]) for name, value in scores.items()}
        yield ImagePrediction(np.asarray(maps[0]), of_image)
