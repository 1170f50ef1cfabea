"""Distance of every cell of an image from its nearest neighbours in the memory bank."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.bank import MemoryBank
from lfq_jax.memory_bank.border_baseline import cells_from_border
from lfq_jax.memory_bank.feature_residuals import residual_distances
from lfq_jax.memory_bank.features import (
    PatchFeatures,
    extract,
    group_sizes_by_source,
    stages_compared,
)
from lfq_jax.memory_bank.map_channels import MapChannels
from lfq_jax.memory_bank.nearest_neighbours import (
    TIE,
    WindowTiles,
    nearest_anywhere,
    nearest_in_window,
    window_tiles,
)
from lfq_jax.memory_bank.orientation import orientation_deviation
from lfq_jax.memory_bank.pose_search import find_poses
from lfq_jax.ops.precision import exact_products
from lfq_jax.ops.rotation import inside, rotate


class DistanceMaps(NamedTuple):
    """Distances, orientation and features of every cell, compared with a memory bank.

    A field that does not apply has no channels.
    """

    distances: Shaped[Array, "*b gh gw d"]
    """log(1 + distance) from the nearest patch anywhere, a channel a group of features;
    then, for objects, from the nearest patch in the window; then the residuals, if the
    config names any. `searches.py` says which sources have which. Less the border
    baseline where the bank has one."""
    orientation: Shaped[Array, "*b gh gw o"]
    """For textures: orientation deviation of the grain, in (-1, 1); 0 is normal."""
    features: Shaped[Array, "*b gh gw f"]
    """The image's features that the decoder is to reconstruct."""
    clean_features: Shaped[Array, "*b gh gw g"]
    """`features` of the image without its anomaly. Only for training images."""
    deepest: Shaped[Array, "*b gh gw e"]
    """With a backbone: distance from the nearest patch anywhere by the deepest stage,
    not averaged over its cells. For the image score alone."""
    reconstruction: Shaped[Array, "*b gh gw r"]
    """Where `reconstruction_weight` is not 0: log(1 + distance) from the reconstruction
    of the features, the mean over the stages. For the map alone."""


def empty_maps(
    shape: tuple[int, ...], channels: MapChannels, dtype: type[np.floating]
) -> DistanceMaps:
    """Maps of zeros, on the host. `shape` has all axes but the channels."""
    fields: Any = [np.zeros((*shape, count), dtype) for count in channels]
    return DistanceMaps(*fields)


@exact_products
def distance_maps_of(
    bank: MemoryBank,
    images: Float[Array, "b H W 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> DistanceMaps:
    """Compare images in [0, 1] with a memory bank.

    Args:
      stride: side of a cell in pixels.

    Returns:
      Maps without `clean_features`.
    """
    features = extract(bank.extractor, images, config, stride=stride)
    comparison = _Comparison(bank, config, stride)

    def of_image(pair: tuple[Array, PatchFeatures]) -> DistanceMaps:
        image, features = pair
        distances, deepest, reconstruction = comparison(image, features.by_source)
        if bank.border_baseline is not None:
            last = len(bank.border_baseline) - 1
            depth = cells_from_border(*distances.shape[:2]).clip(max=last)
            distances = distances - bank.border_baseline[depth]
        orientation = distances[..., :0]
        if bank.orientation is not None and config.orientation_weight:
            grid = distances.shape[:2]
            deviation = orientation_deviation(bank.orientation, image, grid)
            orientation = deviation[..., None]
        targets = features.reconstruction_targets
        return DistanceMaps(
            distances=distances,
            orientation=orientation,
            features=targets,
            clean_features=targets[..., :0],
            deepest=deepest,
            reconstruction=reconstruction,
        )

    return jax.lax.map(of_image, (images, features))


def _group_lengths(squared: Float[Array, "*b f"], sizes: tuple[int, ...]) -> Array:
    """Length of a difference within each group of features. [... f] -> [... g]"""
    parts = jnp.split(squared, np.cumsum(sizes)[:-1], axis=-1)
    return jnp.sqrt(jnp.stack([part.sum(-1) for part in parts], axis=-1))


def window_radii(config: MemoryBankConfig, stride: int) -> list[int]:
    """`config.window` in cells of each source, rounded up.

    Args:
      stride: side of the cells that `config.window` is counted in.
    """
    strides = [stride] if config.filter_levels else []
    strides += [stage.stride for stage in stages_compared(config)]
    return [math.ceil(config.window * stride / each) for each in strides]


class _Comparison:
    """Compares images with one bank. Holds what does not depend on the image."""

    def __init__(self, bank: MemoryBank, config: MemoryBankConfig, stride: int) -> None:
        self.bank, self.config, self.stride = bank, config, stride
        self.sizes = group_sizes_by_source(config)
        self.windows: list[WindowTiles | None] = [
            window_tiles(source.in_place, radius) if len(source.in_place) else None
            for source, radius in zip(
                bank.by_source, window_radii(config, stride), strict=True
            )
        ]

    def __call__(
        self, image: Float[Array, "H W 3"], queries: tuple[Float[Array, "_ _ _"], ...]
    ) -> tuple[Float[Array, "h w c"], Float[Array, "h w e"], Float[Array, "h w r"]]:
        """`distances`, `deepest` and `reconstruction` of `DistanceMaps`, without border
        baseline."""
        anywhere = [
            _group_lengths(nearest_anywhere(query, source.anywhere), sizes)
            for query, source, sizes in zip(
                queries, self.bank.by_source, self.sizes, strict=True
            )
            if len(source.anywhere)
        ]
        in_window = self._in_window(queries)
        if self.bank.poses is not None:
            in_window = self._in_other_poses(in_window, image, queries)
        grid = image.shape[0] // self.stride, image.shape[1] // self.stride
        resized = [
            jax.image.resize(x, (*grid, x.shape[-1]), "bilinear")
            for x in (*anywhere, *in_window)
        ]
        deepest = resized[0][..., :0]
        if self.config.compares_deepest:
            deepest = resized.pop(len(anywhere) - 1)
        reconstruction = resized[0][..., :0]
        if self.bank.residuals is not None:
            found = residual_distances(self.bank.residuals, queries, self.config)
            on_grid = {
                name: jax.image.resize(x, (*grid, x.shape[-1]), "bilinear")
                for name, x in found.items()
            }
            resized += [on_grid[name] for name in self.config.residuals]
            if self.config.reconstruction_weight and "reconstruction" in on_grid:
                by_stage = jnp.log1p(on_grid["reconstruction"])
                reconstruction = by_stage.mean(-1, keepdims=True)
        distances = jnp.log1p(jnp.concatenate(resized, axis=-1))
        return distances, deepest, reconstruction

    def _in_window(
        self, queries: Sequence[Array], shot: Array | None = None
    ) -> tuple[Float[Array, "_ _ _"], ...]:
        """Distances from the nearest patch in the window, of all shots or of one."""
        found = []
        for query, window, sizes in zip(queries, self.windows, self.sizes, strict=True):
            if window is None:
                continue
            first, count = 0, None
            if shot is not None:
                assert self.bank.poses is not None
                count = len(window.padded) // len(self.bank.poses.turned)
                first = shot * count
            squared = nearest_in_window(query, window, first=first, count=count)
            found.append(_group_lengths(squared, sizes))
        return tuple(found)

    def _in_other_poses(
        self,
        upright: tuple[Float[Array, "_ _ _"], ...],
        image: Float[Array, "H W 3"],
        queries: tuple[Float[Array, "_ _ _"], ...],
    ) -> tuple[Float[Array, "_ _ _"], ...]:
        """In every cell the smaller of the upright distance and of the distances in the
        poses that fit the image."""
        poses = self.bank.poses
        assert poses is not None
        turns, fits = find_poses(poses, queries[0], self.config.poses)
        shots = jnp.repeat(jnp.arange(turns.shape[0]), turns.shape[1])

        def take_nearer(nearest: tuple[Array, ...], pose: tuple[Array, ...]):
            fits, shot, turn_deg = pose

            def compared(nearest: tuple[Array, ...]) -> tuple[Array, ...]:
                in_pose = self._in_pose(image, shot, turn_deg)
                return tuple(
                    _nearer(before, now, turn_deg)
                    for before, now in zip(nearest, in_pose, strict=True)
                )

            return jax.lax.cond(fits, compared, lambda nearest: nearest, nearest), None

        each_pose = (fits.ravel(), shots, turns.ravel())
        return jax.lax.scan(take_nearer, upright, each_pose)[0]

    def _in_pose(
        self, image: Float[Array, "H W 3"], shot: Array, turn_deg: Array
    ) -> tuple[Float[Array, "_ _ _"], ...]:
        """Window distances of the image, rotated to the shot's pose and back."""
        upright = rotate(image, -turn_deg)[None]
        features = extract(
            self.bank.extractor, upright, self.config, stride=self.stride
        )
        queries = tuple(source[0] for source in features.by_source)
        distances = self._in_window(queries, shot)
        return tuple(rotate(each, turn_deg, is_map=True) for each in distances)


def _nearer(
    before: Float[Array, "h w g"], now: Float[Array, "h w g"], turn_deg: Array
) -> Float[Array, "h w g"]:
    """`now` in the cells that the rotated image covers and where it is nearer over all
    groups, with a continuous transition where both are about equally near."""
    rows, columns, _ = before.shape
    squared_before, squared_now = (before * before).sum(-1), (now * now).sum(-1)
    lead = squared_before - squared_now
    lead = lead / (2 * TIE * jnp.minimum(squared_before, squared_now) + 1e-12)
    covered = inside(rows, columns, turn_deg)
    weight = jnp.where(covered, jnp.clip(0.5 + lead, 0.0, 1.0), 0.0)[..., None]
    return before + weight * (now - before)
