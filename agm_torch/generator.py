"""The plug-and-play generator: normal image in, anomalous image and mask out."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from agm_torch.blending import Blend, blend
from agm_torch.config import MIN_IMAGE_PX, GeneratorConfig, Kind
from agm_torch.content import Judge, content_source
from agm_torch.extra import DIFFUSION, GROUNDED_SAM, require_agm_extra
from agm_torch.masks import draw_mask, region_source
from agm_torch.masks.foreground import find_foreground
from agm_torch.masks.shapes import Canvas, spot
from agm_torch.quality import rejection
from agm_torch.scene import Content, Region, Request, Scene, SoftMask, bounding_box

_PLAIN_CHANGE = 90.0
"""Grey levels. Visible on everything."""


class Anomaly(NamedTuple):
    """An anomalous image, and where it differs from the normal one."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]
    """255 where the image differs from the normal one, 0 elsewhere."""
    soft_mask: Float32[np.ndarray, "h w"]
    """Weight of the anomaly in the blend, in [0, 1]; 0 outside the mask."""
    provenance: dict[str, Any]
    """Shape, content, beta, region and rejected draws."""


class AnomalyGenerator:
    """Makes anomalies of normal images of one kind.

    Weights, if any, are found and checked when the generator is built, and loaded at
    the first call.

    Raises:
      FileNotFoundError: a library of the `agm` extra, or weights, are missing.
    """

    def __init__(
        self, config: GeneratorConfig | None = None, *, kind: Kind = "object"
    ) -> None:
        self.config = config or GeneratorConfig()
        self.kind: Kind = kind
        require_agm_extra(
            _libraries(self.config, kind)
        )  # before any weights are searched
        self._regions = region_source(self.config, kind)
        self._content = content_source(self.config)

    @property
    def batch(self) -> int:
        """Best number of records to draw together."""
        return self._content.batch

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        *,
        category: str,
        rng: np.random.Generator,
    ) -> Anomaly:
        """One anomaly of an image. For several, `scenes` once and `draw` are faster."""
        (scene,) = self.scenes([image], category=category)
        return self.draw([scene], [rng])[0]

    def scenes(
        self, images: Sequence[UInt8[np.ndarray, "h w 3"]], *, category: str
    ) -> list[Scene]:
        """The images with their regions and backgrounds, computed once per image.

        Raises:
          ValueError: an image is not u8[h w 3], or smaller than 32 pixels.
        """
        for image in images:
            _check_image(image)
        return [
            Scene(
                image=image,
                category=category,
                kind=self.kind,
                regions=self._regions.regions(image, category),
                background=self._background(image),
                shots=images,
            )
            for image in images
        ]

    def _background(
        self, image: UInt8[np.ndarray, "h w 3"]
    ) -> Float32[np.ndarray, "h w 3"] | None:
        """What is visible where a part is missing; None where no part was found."""
        if self.kind == "texture":
            return None
        inside, background = find_foreground(image)
        return None if inside.all() else background

    def draw(
        self, scenes: Sequence[Scene], rngs: Sequence[np.random.Generator]
    ) -> list[Anomaly]:
        """One anomaly per scene, each from its own random generator alone.

        Draws that fail a gate are repeated, at most `max_redraws` times. Then a plain,
        always visible spot is taken, and the provenance records it.
        """
        results: list[Anomaly | None] = [None] * len(scenes)
        rejects = [Counter[str]() for _ in scenes]
        for _ in range(self.config.max_redraws):
            pending = [i for i, result in enumerate(results) if result is None]
            requests: dict[int, Request] = {}
            for i in pending:
                request = self._request(scenes[i], rngs[i])
                if request is None:
                    rejects[i]["missed"] += 1
                else:
                    requests[i] = request
            painted = self._content.draw(list(requests.values())) if requests else []
            for (i, request), content in zip(requests.items(), painted, strict=True):
                results[i] = self._judged(request, content, rejects[i])
        return [
            result or _plain(scene, self.config, rng, reasons)
            for result, scene, rng, reasons in zip(
                results, scenes, rngs, rejects, strict=True
            )
        ]

    def _request(self, scene: Scene, rng: np.random.Generator) -> Request | None:
        region = scene.regions[int(rng.integers(len(scene.regions)))]
        mask = draw_mask(self.config, region, rng)
        return mask and Request(scene, mask, rng)

    def _judged(
        self, request: Request, content: Content, rejects: Counter[str]
    ) -> Anomaly | None:
        """The blended anomaly, or None, with the reason counted in `rejects`."""
        scene, mask, rng = request
        beta = float(rng.uniform(0, self.config.beta_max * content.beta_scale))
        result = blend(scene.image, mask, content, beta=beta)
        reason = rejection(self.config, scene, mask, result)
        if reason is None and isinstance(self._content, Judge):
            reason = self._content.refusal(request, result.image)
        if reason:
            rejects[reason] += 1
            return None
        return _anomaly(result, mask, content, beta, rejects)


def _libraries(config: GeneratorConfig, kind: Kind) -> tuple[str, ...]:
    """Libraries of the `agm` extra that the configured sources import later."""
    sam, diffusion = config.models(kind)
    return (GROUNDED_SAM if sam else ()) + (DIFFUSION if diffusion else ())


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be u8[h w 3], got {image.dtype}{list(image.shape)}"
        )
    if min(image.shape[:2]) < MIN_IMAGE_PX:
        raise ValueError(
            f"image must be at least {MIN_IMAGE_PX} pixels a side, got "
            f"{image.shape[1]} x {image.shape[0]}"
        )


def _plain(
    scene: Scene,
    config: GeneratorConfig,
    rng: np.random.Generator,
    rejects: Counter[str],
) -> Anomaly:
    """The last resort: a spot much darker or brighter than the image below it."""
    region: Region = scene.regions[0]
    height, width = region.inside.shape
    share = min(np.sqrt(config.min_area * config.max_area), 0.3 * region.share)
    centre = divmod(int(region.pixels[rng.integers(region.pixels.size)]), width)
    canvas = Canvas(region.inside, max(16, round(share * height * width)), centre)
    alpha = spot(canvas, rng)
    mask = SoftMask(alpha, bounding_box(alpha, margin=1), "spot", region, False)
    under = scene.image[mask.box.slices].astype(np.float32)
    away = np.where(under > 127, -_PLAIN_CHANGE, _PLAIN_CHANGE).astype(np.float32)
    content = Content(under + away, "plain", 0.0)
    result = blend(scene.image, mask, content, beta=0.0)
    return _anomaly(result, mask, content, 0.0, rejects)


def _anomaly(
    result: Blend,
    mask: SoftMask,
    content: Content,
    beta: float,
    rejects: Counter[str],
) -> Anomaly:
    provenance = {
        "shape": mask.shape,
        "content": content.name,
        "beta": round(beta, 4),
        "region": mask.region.how,
        "beyond_outline": mask.beyond_outline,
        "area": int((result.mask > 0).sum()),
        "rejects": dict(sorted(rejects.items())),
        **(content.details or {}),
    }
    soft = np.where(result.mask > 0, mask.alpha, np.float32(0))
    return Anomaly(result.image, result.mask, soft, provenance)
