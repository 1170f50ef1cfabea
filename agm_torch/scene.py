"""A normal image, its regions, and the data that is passed around for an anomaly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy import ndimage

from agm_torch.config import Kind


@dataclass(frozen=True)
class Region:
    """Where an anomaly may be."""

    inside: Bool[np.ndarray, "h w"]
    how: str
    """How it was found: `whole image`, `foreground`, `grounded_sam`, or a fallback."""

    @cached_property
    def share(self) -> float:
        return float(self.inside.mean())

    @property
    def is_whole(self) -> bool:
        return self.share == 1.0

    @cached_property
    def pixels(self) -> Int[np.ndarray, "n"]:
        """Flat indices of the pixels inside."""
        return np.flatnonzero(self.inside)

    @cached_property
    def outline(self) -> Int[np.ndarray, "n"]:
        """Flat indices of the pixels inside that touch the outside."""
        eroded = ndimage.binary_erosion(self.inside, iterations=2, border_value=1)
        return np.flatnonzero(self.inside & np.logical_not(eroded))

    @cached_property
    def surroundings(self) -> Bool[np.ndarray, "h w"]:
        """The inside with a margin of a twelfth of the image's longer side."""
        distance = np.asarray(ndimage.distance_transform_edt(~self.inside))
        return distance <= max(self.inside.shape) / 12


@dataclass(frozen=True)
class Scene:
    """A normal image with what the generator needs to know about it."""

    image: UInt8[np.ndarray, "h w 3"]
    category: str
    kind: Kind
    regions: tuple[Region, ...]
    """Proposals. A record takes one at random."""
    background: Float32[np.ndarray, "h w 3"] | None
    """Model of the background behind the part, None for no model."""
    shots: Sequence[UInt8[np.ndarray, "h w 3"]]
    """All normal images of the category, including this one."""

    @cached_property
    def is_grey(self) -> bool:
        """Whether the image has no colour, so that defects have hardly any either."""
        spread = np.ptp(self.image.astype(np.int16), axis=2)
        return float(spread.mean()) < 3.0

    @cached_property
    def spread(self) -> float:
        """Standard deviation of image minus local mean, in grey levels."""
        grey = self.image.mean(axis=2, dtype=np.float32)
        return float((grey - ndimage.uniform_filter(grey, 9)).std())


class Box(NamedTuple):
    """A window of an image, in pixels, with exclusive ends."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left


class SoftMask(NamedTuple):
    """Where an anomaly goes, and how strongly it replaces the image."""

    alpha: Float32[np.ndarray, "h w"]
    """In [0, 1] over the whole image, 0 outside the mask."""
    box: Box
    """Contains everything above 0, with a margin."""
    shape: str
    region: Region
    beyond_outline: bool
    """Whether the mask may leave the region, to change the silhouette."""


class Request(NamedTuple):
    """One anomaly to be painted."""

    scene: Scene
    mask: SoftMask
    rng: np.random.Generator


class Content(NamedTuple):
    """What an anomaly looks like: A of the paper's blending equation."""

    pixels: Float32[np.ndarray, "h w 3"]
    """Grey levels in [0, 255], in the mask's box."""
    name: str
    beta_scale: float
    """Share of `beta_max` to use. Double exposures of structural changes look wrong."""
    details: dict[str, Any] | None = None
    """Further entries of the provenance, e.g. model and prompts."""


def bounding_box(alpha: Float32[np.ndarray, "h w"], *, margin: int) -> Box:
    """The smallest window with everything above 0, plus `margin` pixels."""
    rows = np.flatnonzero(alpha.any(axis=1))
    columns = np.flatnonzero(alpha.any(axis=0))
    height, width = alpha.shape
    return Box(
        max(0, int(rows[0]) - margin),
        min(height, int(rows[-1]) + 1 + margin),
        max(0, int(columns[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
    )
