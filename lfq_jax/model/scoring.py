"""Anomaly maps and image scores from the model's probabilities (paper 3.5)."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from lfq_jax.config import ImageScore, ScoreConfig
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.model.variables import AnomalyMaps
from lfq_jax.ops.gaussian import gaussian_smooth
from lfq_jax.ops.precision import exact_products

WINDOW_SIGMAS = 3.0  # the Gaussian window is cut at this distance


def smooth(maps: Float[Array, "b h w"], sigma_share: float) -> Float[Array, "b h w"]:
    """Maps in [0, 1] after Gaussian smoothing, still in [0, 1].

    Sigma is a share of the side; 0 returns the maps unchanged.
    """
    sigma_px = sigma_share * maps.shape[-1]
    if sigma_px <= 0:
        return maps
    window_px = 2 * max(1, round(WINDOW_SIGMAS * sigma_px)) + 1
    smoothed = gaussian_smooth(maps[..., None], window_px=window_px, sigma_px=sigma_px)
    return jnp.clip(smoothed[..., 0], 0.0, 1.0)  # rounding may exceed 1


def image_scores(
    maps: Float[Array, "b h w"], config: ScoreConfig
) -> dict[ImageScore, Float[Array, "b"]]:
    """All image scores by name, from maps in [0, 1].

    `mean` is eq. 4. The other scores do not average a small defect with the background.
    """
    flat = maps.reshape(maps.shape[0], -1)
    k = max(1, round(config.top_k_share * flat.shape[1]))
    return {
        "mean": flat.mean(1),
        "max": flat.max(1),
        "top_k_mean": jax.lax.top_k(flat, k)[0].mean(1),
        "smoothed_max": smooth(maps, config.max_sigma).max((1, 2)),
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
    """How anomalous each pixel is, smoothed as configured; in [0, 1]."""
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
    ) -> Scored:
        """Score images of the input size; `distance_maps` as in `Model.apply`."""
        unit = images.astype(jnp.float32) / 255.0
        found = self.model.anomaly_maps(variables, unit, distance_maps)
        reconstructions = found.reconstructions
        if reconstructions is not None:
            reconstructions = jnp.clip(reconstructions, 0.0, 1.0)
        return Scored(
            maps=smooth(found.maps, self.config.smoothing_sigma),
            scores=image_scores(found.score_maps, self.config),
            reconstructions=reconstructions,
        )
