"""What an anomaly looks like: texture content without weights, or diffusion."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from agm_torch.config import GeneratorConfig
from agm_torch.scene import Content, Request

_SOURCES = {
    "texture": "agm_torch.content.texture:TextureContent",
    "diffusion": "agm_torch.content.diffusion:DiffusionContent",
}


class ContentSource(Protocol):
    """Paints anomalies. Built once per process; loads its weights at the first draw."""

    batch: int
    """Best number of requests to draw together."""

    def __init__(self, config: GeneratorConfig) -> None: ...

    def draw(self, requests: Sequence[Request]) -> list[Content]:
        """One content per request. Each depends on its own request alone."""
        ...


@runtime_checkable
class Judge(Protocol):
    """A content source with its own gate, e.g. CLIP."""

    def refusal(
        self, request: Request, image: UInt8[np.ndarray, "h w 3"]
    ) -> str | None:
        """The reason to draw again, or None. `image` is the blended image."""
        ...


def content_source(config: GeneratorConfig) -> ContentSource:
    """The configured source. Imports only what that source needs."""
    module, name = _SOURCES[config.generator].split(":")
    return getattr(importlib.import_module(module), name)(config)
