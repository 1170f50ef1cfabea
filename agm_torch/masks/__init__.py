"""Where an anomaly goes: a region of the image, and a shape inside it."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from agm_torch.config import GeneratorConfig, Kind
from agm_torch.masks.shapes import SHAPES, Canvas
from agm_torch.scene import Region, SoftMask, bounding_box

_SOURCES = {
    "perlin": "agm_torch.masks.whole_image:WholeImage",
    "foreground": "agm_torch.masks.foreground:Foreground",
    "grounded_sam": "agm_torch.masks.grounded_sam:GroundedSam",
}
_MARGIN = 4


class RegionSource(Protocol):
    """Finds where anomalies may be. Built once per process from the configuration."""

    def __init__(self, config: GeneratorConfig) -> None: ...

    def regions(
        self, image: UInt8[np.ndarray, "h w 3"], category: str
    ) -> tuple[Region, ...]:
        """At least one proposal. Called once per normal image."""
        ...


def region_source(config: GeneratorConfig, kind: Kind) -> RegionSource:
    """The configured source. Imports only what that source needs."""
    module, name = _SOURCES[config.mask_source(kind)].split(":")
    return getattr(importlib.import_module(module), name)(config)


def draw_mask(
    config: GeneratorConfig, region: Region, rng: np.random.Generator
) -> SoftMask | None:
    """A shape of log-uniform area inside a region, or beyond its outline.

    Returns:
      None where the shape missed the allowed pixels.
    """
    beyond = not region.is_whole and rng.random() < config.silhouette_share
    pixels = region.outline if beyond and region.outline.size else region.pixels
    allowed = region.surroundings if beyond else region.inside
    height, width = allowed.shape
    largest = min(config.max_area, 0.5 * region.share)
    smallest = min(config.min_area, largest)
    area = np.exp(rng.uniform(np.log(smallest), np.log(largest))) * height * width
    centre = divmod(int(pixels[rng.integers(pixels.size)]), width)
    shape = weighted_choice(dataclasses.asdict(config.shapes), rng)
    drawn = SHAPES[shape](Canvas(allowed, max(4, round(area)), centre), rng) * allowed
    if not drawn.any():
        return None
    box = bounding_box(drawn, margin=_MARGIN)
    alpha = np.zeros_like(drawn)
    alpha[box.slices] = _softened(drawn[box.slices], shape, area, rng)
    return SoftMask(alpha, box, shape, region, beyond)


def weighted_choice(weights: dict[str, float], rng: np.random.Generator) -> str:
    """One of the names, with probability proportional to its weight."""
    names, values = list(weights), np.cumsum(list(weights.values()))
    return names[int(np.searchsorted(values, rng.random() * values[-1], "right"))]


def _softened(
    drawn: Float32[np.ndarray, "h w"],
    shape: str,
    area: float,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "h w"]:
    """The shape with its edge faded inwards, since nothing outside may change."""
    if rng.random() < 0.4:
        return drawn
    widest = 0.7 if shape in ("curve", "scatter") else 0.25 * np.sqrt(area)
    sigma = rng.uniform(0.4, max(0.6, widest))
    blurred = ndimage.gaussian_filter(drawn, sigma, truncate=2.5)
    return drawn * blurred / blurred.max()
