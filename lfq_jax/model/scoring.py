"""Anomaly maps and image scores from the model's probabilities (paper 3.5)."""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from lfq_jax.config import ImageScore, ScoreConfig
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.model.variables import AnomalyMaps
from lfq_jax.ops.gaussian import gaussian_smooth
from lfq_jax.ops.precision import exact_products

WINDOW_SIGMAS = 3.0  # the Gaussian window is cut at this distance
_TINY = 1e-12


def smooth(
    maps: Float[Array, "b h w"],
    sigma_share: float,
    inside: Bool[Array, "b h w"] | None = None,
) -> Float[Array, "b h w"]:
    """Maps in [0, 1] after Gaussian smoothing, still in [0, 1].

    Args:
      sigma_share: standard deviation as a share of the side of a square of the same
        area; 0 returns the maps unchanged.
      inside: pixels that count, in a rectangle. The window is cut at its border, as at
        the border of the map. Outside, the result has no meaning. None: all pixels.
    """
    sigma_px = sigma_share * math.sqrt(maps.shape[-2] * maps.shape[-1])
    if sigma_px <= 0:
        return maps
    window_px = 2 * max(1, round(WINDOW_SIGMAS * sigma_px)) + 1
    window = functools.partial(gaussian_smooth, window_px=window_px, sigma_px=sigma_px)
    if inside is None:
        smoothed = window(maps[..., None])
    else:
        counts = inside[..., None].astype(maps.dtype)
        weights = jnp.maximum(window(counts), _TINY)
        smoothed = window(maps[..., None] * counts) / weights
    return jnp.clip(smoothed[..., 0], 0.0, 1.0)  # rounding may exceed 1


def image_scores(
    maps: Float[Array, "b h w"],
    config: ScoreConfig,
    inside: Bool[Array, "b h w"] | None = None,
) -> dict[ImageScore, Float[Array, "b"]]:
    """All image scores by name, from maps in [0, 1].

    `mean` is eq. 4. The other scores do not average a small defect with the background.

    Args:
      inside: pixels that count, in a rectangle. None: all pixels.
    """
    flat = maps.reshape(maps.shape[0], -1)
    k = max(1, round(config.top_k_share * flat.shape[1]))
    if inside is not None:
        return _scores_inside(maps, config, inside, k)
    return {
        "mean": flat.mean(1),
        "max": flat.max(1),
        "top_k_mean": jax.lax.top_k(flat, k)[0].mean(1),
        "smoothed_max": smooth(maps, config.max_sigma).max((1, 2)),
    }


def _scores_inside(
    maps: Float[Array, "b h w"],
    config: ScoreConfig,
    inside: Bool[Array, "b h w"],
    most: int,
) -> dict[ImageScore, Float[Array, "b"]]:
    """As `image_scores`, of a part of the pixels: `most` of them count at most."""
    counted = jnp.where(inside, maps, 0.0)
    flat, number = counted.reshape(len(maps), -1), inside.sum((1, 2))
    k = jnp.maximum(1, jnp.round(config.top_k_share * number))
    largest = jax.lax.top_k(flat, most)[0]
    is_taken = jnp.arange(most) < k[:, None]
    smoothed = jnp.where(inside, smooth(maps, config.max_sigma, inside), 0.0)
    return {
        "mean": flat.sum(1) / number,
        "max": flat.max(1),
        "top_k_mean": jnp.where(is_taken, largest, 0.0).sum(1) / k,
        "smoothed_max": smoothed.max((1, 2)),
    }


@runtime_checkable
class ScoringModel(Protocol):
    """A model that images can be scored with. Hashable; equal models score equally."""

    @property
    def config(self) -> Any:
        """The model's configuration."""
        ...

    def anomaly_maps(
        self,
        variables: Any,
        images: Float[Array, "b h w 3"],
        distance_maps: DistanceMaps | None = None,
    ) -> AnomalyMaps:
        """Anomaly maps of images in [0, 1]; `distance_maps` as in `Model.apply`."""
        ...


class Scored(NamedTuple):
    """Maps, scores and reconstructions of a batch of images."""

    maps: Float[Array, "b h w"]
    """How anomalous each pixel is, smoothed as configured; in [0, 1]. 0 in the pixels
    that do not count."""
    scores: dict[ImageScore, Float[Array, "b"]]
    """All image scores, by name."""
    reconstructions: Float[Array, "b h w 3"] | None
    """Output of the decoder, clipped to [0, 1]. None for a model without decoder."""


@dataclass(frozen=True)
class Scorer:
    """The compiled scoring function of one model. Equal scorers share it."""

    model: ScoringModel
    config: ScoreConfig

    @functools.partial(jax.jit, static_argnums=0)
    @exact_products
    def __call__(
        self,
        variables: Any,
        images: UInt8[Array, "b h w 3"],
        distance_maps: DistanceMaps | None = None,
        inside: Bool[Array, "b h w"] | None = None,
    ) -> Scored:
        """Score images of one size; `distance_maps` as in `Model.apply`.

        Args:
          inside: pixels that count, in a rectangle for each image. None: all pixels.
        """
        unit = images.astype(jnp.float32) / 255.0
        found = self.model.anomaly_maps(variables, unit, distance_maps)
        maps = smooth(found.maps, self.config.smoothing_sigma, inside)
        if inside is not None:
            maps = jnp.where(inside, maps, 0.0)
        reconstructions = found.reconstructions
        if reconstructions is not None:
            reconstructions = jnp.clip(reconstructions, 0.0, 1.0)
        return Scored(
            maps=maps,
            scores=image_scores(found.score_maps, self.config, inside),
            reconstructions=reconstructions,
        )
