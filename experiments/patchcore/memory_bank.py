"""PatchCore (Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection").

A memory bank stores the features that a frozen backbone gives for the good parts'
patches. The anomaly score of an image is the distance of its patches to the bank.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from datasets.framing import Framing
from lfq_jax.backbones import Backbone
from lfq_jax.inference.predictor import RawPrediction
from lfq_jax.memory_bank.subsampling import coreset
from lfq_jax.ops.gaussian import gaussian_smooth
from lfq_jax.ops.precision import exact_products

MAX = "max"
REWEIGHTED = "reweighted"
"""Names of the image scores. `max`: the largest distance of a patch. `reweighted`: that
distance times a weight, larger if the nearest patch is rare in the memory bank."""
_TINY = 1e-6
_WINDOW_SIGMAS = 4.0  # half width of the Gaussian window, as in scipy's filter


class View(NamedTuple):
    """Which features of a backbone are used."""

    stages: tuple[str, ...]
    unit_length: bool = False
    """Whether every stage's features are scaled to length 1 in every cell."""


def default_stages(encoder: Backbone) -> tuple[str, ...]:
    """The last stage of stride 8 and the last of stride 16.

    In a ResNet these are the paper's layer2 and layer3. A backbone without such strides
    gets its last stage.
    """
    last = {stage.stride: stage.name for stage in encoder.stages}
    return tuple(last[s] for s in (8, 16) if s in last) or (encoder.stages[-1].name,)


def _locally_aware(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Mean over the 3x3 cells around each cell, without those outside (eq. 2)."""
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
    """Locally aware features of all stages, resized to the finest stage's grid."""
    maps = [_locally_aware(x) for x in encoder.features(images, view.stages)]
    if view.unit_length:
        maps = [x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + _TINY) for x in maps]
    height, width = max(x.shape[1:3] for x in maps)
    resized = [
        jax.image.resize(x, (len(x), height, width, x.shape[-1]), "bilinear")
        for x in maps
    ]
    return jnp.concatenate(resized, axis=-1)


class PatchMemory(NamedTuple):
    """Patch features of the good parts, and the backbone that computed them."""

    encoder: Backbone
    patches: Float[Array, "n f"]


def remember(
    encoder: Backbone,
    shots: Iterable[UInt8[np.ndarray, "H W 3"]],
    view: View,
    *,
    framing: Framing,
    share: float,
    seed: int,
) -> PatchMemory:
    """The memory bank of good parts of any size.

    Args:
      framing: how photographs become images that the backbone is given.
      share: share of the patches to keep, in (0, 1]; 1 keeps all of them.
      seed: seed of the coreset's first patch and of its projection.
    """
    features = [
        patch_features(encoder, _as_float(framing.training_image(shot)[None]), view)
        for shot in shots
    ]
    patches = jnp.concatenate(features).reshape(-1, features[0].shape[-1])
    return PatchMemory(encoder, coreset(patches, share, seed))


def _as_float(images: UInt8[np.ndarray, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """The images in [0, 1]."""
    return jnp.asarray(images, jnp.float32) / 255.0


def _squared_distances(
    query: Float[Array, "p f"], patches: Float[Array, "n f"]
) -> Float[Array, "p n"]:
    """Squared distances of every query to every patch."""
    query_lengths = (query * query).sum(-1)[:, None]
    patch_lengths = (patches * patches).sum(-1)[None]
    return jnp.maximum(query_lengths + patch_lengths - 2 * query @ patches.T, 0.0)


def _weight(
    patch: Float[Array, "f"], patches: Float[Array, "n f"], nearest: Array, count: int
) -> Float[Array, ""]:
    """1 - softmax of the distance to the nearest patch (eq. 7).

    The softmax is over the nearest patch and its own neighbours, `count` patches in
    total. The weight is larger if the nearest patch is rare in the bank.
    """
    to_nearest = _squared_distances(patches[nearest][None], patches)[0]
    to_nearest = to_nearest.at[nearest].set(-1.0)  # its own first neighbour
    neighbours = patches[jax.lax.top_k(-to_nearest, count)[1]]
    distances = jnp.sqrt(_squared_distances(patch[None], neighbours)[0])
    return 1.0 - jax.nn.softmax(distances)[0]


def _score_features(
    patches: Float[Array, "n f"],
    features: Float[Array, "h w f"],
    inside: Bool[Array, "h w"],
    count: int,
) -> tuple[Array, Array, Array]:
    """Distances of one image's cells to the bank, the largest one inside, and the
    largest one re-weighted (eq. 6 and 7)."""
    flat = features.reshape(-1, features.shape[-1])
    squared = _squared_distances(flat, patches)
    distances = jnp.sqrt(squared.min(-1))
    farthest = jnp.where(inside.ravel(), distances, -1.0).argmax()
    nearest = squared[farthest].argmin()
    weight = _weight(flat[farthest], patches, nearest, count)
    largest = distances[farthest]
    return distances.reshape(features.shape[:2]), largest, weight * largest


@functools.partial(jax.jit, static_argnames=("view", "neighbours", "sigma_px"))
@exact_products
def _score(
    memory: PatchMemory,
    images: Float[Array, "b h w 3"],
    inside: Bool[Array, "h w"],
    *,
    view: View,
    neighbours: int,
    sigma_px: float,
) -> tuple[Float[Array, "b h w"], dict[str, Float[Array, "b"]]]:
    """Smoothed maps in the images' pixels, and every image score.

    Args:
      inside: the pixels whose cells count in the image scores.
    """
    features = patch_features(memory.encoder, images, view)
    count = min(neighbours, len(memory.patches))
    cells = _at_centres(inside, features.shape[1:3])
    distances, largest, weighted = jax.lax.map(
        lambda image: _score_features(memory.patches, image, cells, count), features
    )
    fine = jax.image.resize(distances, images.shape[:3], "bilinear")[..., None]
    if sigma_px > 0:
        window_px = 2 * round(_WINDOW_SIGMAS * sigma_px) + 1
        fine = gaussian_smooth(fine, window_px=window_px, sigma_px=sigma_px)
    return fine[..., 0], {MAX: largest, REWEIGHTED: weighted}


def _at_centres(pixels: Bool[Array, "h w"], grid: tuple[int, ...]) -> Array:
    """The pixels at the centres of equal cells."""
    row, column = (
        np.floor((np.arange(cells) + 0.5) * size / cells).astype(int)
        for cells, size in zip(grid, pixels.shape, strict=True)
    )
    return pixels[row[:, None], column]


def predict_patches(
    memory: PatchMemory,
    images: Iterable[UInt8[np.ndarray, "H W 3"]],
    view: View,
    *,
    framing: Framing,
    neighbours: int,
    sigma_px: float,
) -> Iterator[RawPrediction]:
    """Predictions for images of any size, in their order.

    Images are scored one at a time. The maps contain distances in the features' own
    unit, in pixels of the images that the backbone is given.

    Args:
      view: the features that `remember` stored.
      framing: as in `remember`.
      neighbours: the paper's b: patches in the softmax that weights the image score.
        With 1 every weight would be 0.
      sigma_px: standard deviation of the Gaussian that smooths the map, in pixels of
        those images. 0: no smoothing.
    """
    for image in images:
        frame = framing.frame(image.shape)
        maps, scores = _score(
            memory,
            _as_float(framing.put(image, frame)[None]),
            jnp.asarray(frame.inside),
            view=view,
            neighbours=neighbours,
            sigma_px=sigma_px,
        )
        image_scores = {name: float(value[0]) for name, value in scores.items()}
        yield RawPrediction(frame.cut(np.asarray(maps[0])), image_scores)
