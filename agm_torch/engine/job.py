"""A request for anomalies: of which images, how many, by which configuration."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from agm_torch.config import MIN_IMAGE_PX, GeneratorConfig, Kind, job_identity
from datasets.framing import Fit, Framing, Size, fitted_size, median_shape
from datasets.images import image_sha256
from datasets.shards import SCHEMA_VERSION, content_key


@dataclass(frozen=True)
class Job:
    """What a shard folder must contain."""

    images: tuple[UInt8[np.ndarray, "h w 3"], ...]
    """The normal images, of any size."""
    category: str
    kind: Kind
    count: int
    seed: int
    image_px: int
    """Side of a square with at least the area of the anomalous images."""
    config: GeneratorConfig
    fit: Fit = "proportion"
    """Whether the images keep their proportion or are squeezed into squares."""
    size_px: Size | None = None
    """Height and width of the anomalous images. None: by `image_px` and `fit`."""

    def __post_init__(self) -> None:
        if not self.category.strip(" .") or Path(self.category).name != self.category:
            raise ValueError(
                "category must be the part's name, without slashes, got "
                f"{self.category!r}"
            )
        if not self.images:
            raise ValueError("images must name at least one normal image, got none")
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if not MIN_IMAGE_PX <= self.image_px <= 4096:
            raise ValueError(
                f"image_px must lie in [{MIN_IMAGE_PX}, 4096], got {self.image_px}"
            )
        if self.kind not in ("texture", "object"):
            raise ValueError(f"kind must be texture or object, got {self.kind!r}")
        if self.size_px and min(self.size_px) < MIN_IMAGE_PX:
            raise ValueError(
                f"size_px must be at least {MIN_IMAGE_PX} each, got {self.size_px}"
            )
        for number, image in enumerate(self.images):
            if min(image.shape[:2]) < MIN_IMAGE_PX:
                raise ValueError(
                    f"images[{number}] must be at least {MIN_IMAGE_PX} pixels a side, "
                    f"got {image.shape[1]} x {image.shape[0]}"
                )
        _ = self.size  # elongated images are refused here

    @cached_property
    def normals(self) -> UInt8[np.ndarray, "k h w 3"]:
        """The normal images at the resolution of the shards."""
        framing = Framing(self.size, 1, self.kind == "texture", self.fit)
        return np.stack([framing.training_image(image) for image in self.images])

    @cached_property
    def size(self) -> Size:
        """Height and width of the images in the shards.

        Raises:
          ValueError: the normal images are too elongated.
        """
        if self.size_px:
            return self.size_px
        if self.fit == "square":
            return self.image_px, self.image_px
        shape = median_shape(image.shape for image in self.images)
        return fitted_size(shape, self.image_px)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the bytes. See `job_identity`."""
        return job_identity(
            self.config,
            category=self.category,
            kind=self.kind,
            count=self.count,
            seed=self.seed,
            size=self.size,
            images=[image_sha256(normal) for normal in self.normals],
        )

    @property
    def loads_models(self) -> bool:
        """Whether models run, so that the bytes depend on the device and on torch."""
        return any(self.config.models(self.kind))

    @property
    def key(self) -> str:
        """Name of the folder in the cache."""
        return content_key({"schema_version": SCHEMA_VERSION, **self.identity})
