"""The content source without models: textures, tones and structural changes."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from agm_torch.config import ContentWeights, GeneratorConfig
from agm_torch.content import borrowed, procedural, structural, surface
from agm_torch.masks import weighted_choice
from agm_torch.scene import Content, Request

_Paint = Callable[[Request], Float32[np.ndarray, "h w 3"]]

PAINTS: dict[str, tuple[_Paint, float]] = {
    "patches": (borrowed.patches, 1.0),
    "region": (borrowed.region, 0.8),
    "noise": (procedural.noise, 1.0),
    "pattern": (procedural.pattern, 1.0),
    "flat": (procedural.flat, 0.7),
    "tone": (surface.tone, 0.3),
    "relief": (surface.relief, 0.3),
    "blur": (surface.blur, 0.2),
    "grain": (surface.grain, 0.3),
    "warp": (structural.warp, 0.0),
    "shift": (structural.shift, 0.15),
    "copy": (structural.copy, 0.15),
    "remove": (structural.remove, 0.15),
}
"""Function that paints a content, and the share of `beta_max` to use."""

_COLOURED = frozenset({"dtd", "noise", "pattern", "flat"})
_THIN = frozenset({"curve", "scatter"})
_NOT_FOR_THIN = frozenset({"warp", "shift", "copy", "patches", "blur"})
"""Contents that are invisible on a thin line."""
_STRUCTURAL = ("warp", "shift", "copy", "remove")
_DARKENED_LINES = 3.0
"""Scratches and cracks are mostly darker, brighter or in relief."""


class TextureContent:
    """The default content source. Needs only numpy, Pillow and scipy."""

    batch = 1

    def __init__(self, config: GeneratorConfig) -> None:
        self._weights = config.content
        self._dtd = borrowed.TexturePhotographs(config.dtd_dir)

    def draw(self, requests: Sequence[Request]) -> list[Content]:
        """One content per request, each from its request's random generator."""
        return [self._draw(request) for request in requests]

    def _draw(self, request: Request) -> Content:
        name = weighted_choice(
            _suitable(self._weights, request, self._dtd), request.rng
        )
        paint, beta_scale = PAINTS.get(name) or (self._dtd.crop, 1.0)
        pixels = paint(request)
        if name in _COLOURED:
            if request.rng.random() < 0.3:
                pixels = _matched(pixels, request)
            if request.scene.is_grey and request.rng.random() < 0.95:
                grey = pixels.mean(axis=2, keepdims=True)
                pixels = np.broadcast_to(grey, pixels.shape)
        return Content(pixels.clip(0, 255), name, beta_scale)


def _suitable(
    weights: ContentWeights, request: Request, dtd: borrowed.TexturePhotographs
) -> dict[str, float]:
    """The weights of the contents that can be visible in this mask."""
    usable = dataclasses.asdict(weights)
    if not dtd.paths:
        usable.pop("dtd")
    suited = dict(usable)
    if request.mask.shape in _THIN:
        suited = {name: w for name, w in suited.items() if name not in _NOT_FOR_THIN}
        for name in ("flat", "relief", "tone"):
            suited[name] *= _DARKENED_LINES
    elif request.scene.kind == "texture":
        for name in ("copy", "region", "remove"):
            suited[name] *= 0.4  # another piece of the same texture is no defect
    else:
        for name in _STRUCTURAL:
            suited[name] *= 1.5  # parts bend, slip and get lost
    if not any(suited.values()):  # no other content is wanted: let it fail the gate
        return usable
    return suited


def _matched(
    pixels: Float32[np.ndarray, "h w 3"], request: Request
) -> Float32[np.ndarray, "h w 3"]:
    """Content with the brightness and contrast of the covered image: a faint defect."""
    covered = request.scene.image[request.mask.box.slices].astype(np.float32)
    deviation = max(float(covered.std()), 10.0) / max(float(pixels.std()), 1.0)
    gain = min(deviation * request.rng.uniform(0.7, 1.5), 3.0)
    centred = pixels - pixels.mean(axis=(0, 1))
    offset = request.rng.normal(0, 8)
    return centred * np.float32(gain) + covered.mean(axis=(0, 1)) + np.float32(offset)
