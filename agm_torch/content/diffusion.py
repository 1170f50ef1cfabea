"""Content from Stable Diffusion: draw prompts, crop, paint in batches, paste back."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from agm_torch.config import GeneratorConfig
from agm_torch.content.crops import Crop, crop_around, cut, latent_mask, paste_back
from agm_torch.prompts import PromptPair, cut_by_clip, load_bank
from agm_torch.scene import Content, Request
from agm_torch.weights.search import find_model
from agm_torch.weights.verification import Found

_SEEDS = 2**63


class _Draft(NamedTuple):
    """Prompts, window and seed for painting one request."""

    prompts: PromptPair
    crop: Crop
    seed: int


class DiffusionContent:
    """Content source of the paper.

    Weights are found and checked when it is built, and loaded at the first draw.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self._config = config.diffusion
        self._device = config.device
        self._bank = load_bank(self._config.prompts)
        self._model = find_model(
            self._config.model_name,
            config=config.weights,
            revision=self._config.revision,
        )
        self._clip_model: Found | None = None
        if self._config.clip_margin is not None:
            self._clip_model = find_model(self._config.clip, config=config.weights)
        self._painter = None
        self._clip = None
        self._cuts: dict[PromptPair, list[str]] = {}
        self._drawn: list[tuple[Request, _Draft, Content]] = []

    @property
    def batch(self) -> int:
        """Best number of requests to draw together. Loads the model."""
        return self._loaded()[1]

    def draw(self, requests: Sequence[Request]) -> list[Content]:
        """One content per request, from the request's random generator alone.

        Raises:
          ValueError: a prompt is empty, or the model cannot be used.
        """
        drafts = [self._draft(request) for request in requests]
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, draft in enumerate(drafts):
            groups[draft.crop.height, draft.crop.width].append(i)
        _, batch = self._loaded()
        painted: dict[int, UInt8[np.ndarray, "h w 3"]] = {}
        for group in groups.values():
            for start in range(0, len(group), batch):
                chosen = group[start : start + batch]
                images = self._paint(
                    [requests[i] for i in chosen], [drafts[i] for i in chosen]
                )
                painted.update(zip(chosen, images, strict=True))
        self._drawn = [
            (request, draft, self._content(request, draft, painted[i]))
            for i, (request, draft) in enumerate(zip(requests, drafts, strict=True))
        ]
        return [content for _, _, content in self._drawn]

    def refusal(
        self, request: Request, image: UInt8[np.ndarray, "h w 3"]
    ) -> str | None:
        """`clip_margin` if CLIP finds the positive prompt too weakly in the window.

        Args:
          request: one of the previous draw.
          image: the blended image. The margin is added to the content's details.
        """
        if self._clip_model is None:
            return None
        draft, content = next(
            (draft, content)
            for drawn, draft, content in self._drawn
            if drawn is request
        )
        window = np.ascontiguousarray(image[draft.crop.window.slices])
        margin = self._loaded_clip().margin(window, draft.prompts)
        assert content.details is not None and self._config.clip_margin is not None
        content.details["clip_margin"] = round(margin, 4)
        return "clip_margin" if margin < self._config.clip_margin else None

    def _draft(self, request: Request) -> _Draft:
        config, scene = self._config, request.scene
        painter, _ = self._loaded()
        prompts = self._bank.draw(
            scene.category,
            request.rng,
            words=config.words,
            positive=config.positive,
            negative=config.negative,
        )
        crop = crop_around(
            request.mask.box,
            scene.image.shape[:2],
            scale=config.crop,
            min_px=config.min_crop_px,
            model_px=config.model_px or painter.model_px,
        )
        return _Draft(prompts, crop, int(request.rng.integers(_SEEDS)))

    def _paint(
        self, requests: list[Request], drafts: list[_Draft]
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """One image per request. The batch is filled up, so that all have one shape."""
        from agm_torch.content.painting import Job

        painter, batch = self._loaded()
        jobs = [
            Job(
                cut(request.scene.image, draft.crop),
                latent_mask(request.mask.alpha > 0, draft.crop),
                draft.prompts,
                draft.seed,
            )
            for request, draft in zip(requests, drafts, strict=True)
        ]
        filler = [jobs[-1]] * (batch - len(jobs))
        return painter.paint(jobs + filler)[: len(jobs)]

    def _content(
        self, request: Request, draft: _Draft, painted: UInt8[np.ndarray, "h w 3"]
    ) -> Content:
        pixels = paste_back(painted, draft.crop, request.mask.box)
        details: dict[str, Any] = {
            "model": self._model.identity,
            "prompt_bank": self._bank.version,
            **draft.prompts._asdict(),
            "window": list(draft.crop.window),
        }
        cut_words = self._cut(draft.prompts)
        if cut_words:
            details["cut_by_clip"] = cut_words
        return Content(pixels, self._config.pipeline, 1.0, details)

    def _cut(self, prompts: PromptPair) -> list[str]:
        """What CLIP does not read of a pair. Computed, and logged, once per pair."""
        if prompts not in self._cuts:
            painter, _ = self._loaded()
            dropped = [cut_by_clip(prompt, painter.tokenizer) for prompt in prompts]
            self._cuts[prompts] = [words for words in dropped if words]
        return self._cuts[prompts]

    def _loaded(self):
        """The painter and its batch size, loaded once per process."""
        if self._painter is None:
            from agm_torch.content.diffedit import DiffEdit
            from agm_torch.content.inpaint import Inpaint
            from agm_torch.device import placement

            where = placement(self._device)
            cls = DiffEdit if self._config.pipeline == "diffedit" else Inpaint
            painter = cls(self._model.path, self._config, where)
            on_cpu = where.device.type == "cpu"
            self._painter = painter, 1 if on_cpu else self._config.batch
        return self._painter

    def _loaded_clip(self):
        """The CLIP model, loaded once per process."""
        if self._clip is None:
            from agm_torch.content.clip_gate import ClipGate
            from agm_torch.device import placement

            assert self._clip_model is not None
            device = placement(self._device).device
            self._clip = ClipGate(self._clip_model.path, device)
        return self._clip
