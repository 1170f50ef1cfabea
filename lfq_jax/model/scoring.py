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
    smoothed = smooth(maps, config.max_sigma, inside)
    number: Array | int = maps.shape[1] * maps.shape[2]
    if inside is not None:
        maps, smoothed = (jnp.where(inside, x, 0.0) for x in (maps, smoothed))
        number = inside.sum((1, 2))
    return {
        "mean": maps.sum((1, 2)) / number,
        "max": maps.max((1, 2)),
        "top_k_mean": top_mean(maps, config.top_k_share, inside),
        "smoothed_max": smoothed.max((1, 2)),
    }


def top_mean(
    values: Float[Array, "b h w"],
    share: float,
    inside: Bool[Array, "b h w"] | None = None,
) -> Float[Array, "b"]:
    """Mean of the largest values of each map, at least one.

    Args:
      share: of the values that count, in (0, 1].
      inside: values that count. None: all.
    """
    flat = values.reshape(values.shape[0], -1)
    most = max(1, round(share * flat.shape[1]))
    if inside is None:
        return jax.lax.top_k(flat, most)[0].mean(1)
    counts = inside.reshape(flat.shape)
    largest = jax.lax.top_k(jnp.where(counts, flat, 0.0), most)[0]
    k = jnp.maximum(1, jnp.round(share * counts.sum(1)))
    return jnp.where(jnp.arange(most) < k[:, None], largest, 0.0).sum(1) / k


def multiply_odds(
    scores: Float[Array, "b"], factors: Float[Array, "b"]
) -> Float[Array, "b"]:
    """Scores in [0, 1] whose odds, s / (1 - s), are multiplied by positive factors."""
    odds = scores * factors
    return odds / (odds + (1.0 - scores))


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
        scores = image_scores(found.score_maps, self.config, inside)
        if found.odds_factors is not None:
            factors = top_mean(
                found.odds_factors,
                self.config.top_k_share,
                None if inside is None else _of_cells(inside, found.odds_factors.shape),
            )
            for name, score in scores.items():
                scores[name] = multiply_odds(score, factors)
        return Scored(maps=maps, scores=scores, reconstructions=reconstructions)


def _of_cells(
    inside: Bool[Array, "b h w"], shape: tuple[int, ...]
) -> Bool[Array, "b gh gw"]:
    """Whether the centre of each cell is inside."""
    rows, columns = (inside.shape[i] // shape[i] for i in (1, 2))
    return inside[:, rows // 2 :: rows, columns // 2 :: columns]
