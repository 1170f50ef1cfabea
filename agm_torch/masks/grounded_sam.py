"""Objects, as in the paper: Grounding DINO finds the part, SAM outlines it (3.2).

Every outline is a separate region. A record takes one of them at random and draws a
local shape inside it, so that a defect covers only a piece of the object.
"""

import logging

import numpy as np
from jaxtyping import Bool, UInt8

from agm_torch.config import GeneratorConfig
from agm_torch.masks.foreground import Foreground
from agm_torch.prompts import load_bank
from agm_torch.scene import Region
from agm_torch.weights.search import find_checkpoint, find_model

logger = logging.getLogger(__name__)

FALLBACK = "foreground, the detector found nothing"
_SAME_OVERLAP = 0.9
_LEAST_BOX_PX = 2.0


class GroundedSam:
    """Region source for objects.

    Weights are found and checked when it is built, and loaded at the first image.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self._config = config
        options, weights = config.grounded_sam, config.weights
        self._bank = load_bank(config.diffusion.prompts)
        self._bert = find_model(options.bert, config=weights)
        self._dino_file = find_checkpoint(
            options.dino, config=weights, sha256=options.dino_sha256
        )
        self._sam_file = find_checkpoint(
            options.sam, config=weights, sha256=options.sam_sha256
        )
        self._foreground = Foreground(config)
        self._models = None

    def regions(
        self, image: UInt8[np.ndarray, "h w 3"], category: str
    ) -> tuple[Region, ...]:
        """The outlines of the part, or the fallback's regions where none was found.

        Raises:
          ValueError: nothing was found, and the fallback is `error`.
        """
        options = self._config.grounded_sam
        name = self._bank.class_name(category)
        caption = options.prompt.replace("{class_name}", name)
        outlines = self._outlines(image, caption)
        if outlines:
            return tuple(Region(outline, "grounded_sam") for outline in outlines)
        if options.fallback == "error":
            raise ValueError(
                f"Grounding DINO finds no {caption!r} with box_threshold "
                f"{options.box_threshold}; lower it, change the prompt, or set the "
                "fallback to foreground"
            )
        logger.warning("Grounding DINO finds no %r: using the foreground", caption)
        fallback = self._foreground.regions(image, category)
        return tuple(Region(region.inside, FALLBACK) for region in fallback)

    def _outlines(
        self, image: UInt8[np.ndarray, "h w 3"], caption: str
    ) -> list[Bool[np.ndarray, "h w"]]:
        from agm_torch.masks.sam import propose

        options = self._config.grounded_sam
        detector, predictor = self._loaded()
        found = detector.detect(
            image,
            caption,
            box_threshold=options.box_threshold,
            text_threshold=options.text_threshold,
            detector_px=options.detector_px,
        )
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        boxes = found.boxes[(sides >= _LEAST_BOX_PX).all(axis=1)][: options.max_boxes]
        if not len(boxes):
            return []
        proposals = propose(predictor, image, boxes)
        proposals.sort(key=lambda proposal: -proposal.score)
        return distinct(
            [proposal.mask for proposal in proposals],
            smallest=options.min_proposal,
            largest=options.max_proposal,
        )

    def _loaded(self):
        """Detector and SAM, loaded once per process."""
        if self._models is None:
            from agm_torch.device import placement
            from agm_torch.masks.grounding_dino import GroundingDino
            from agm_torch.masks.sam import load_sam

            device = placement(self._config.device).device
            self._models = (
                GroundingDino(self._dino_file, self._bert.path, device),
                load_sam(self._sam_file, device),
            )
        return self._models


def distinct(
    masks: list[Bool[np.ndarray, "h w"]], *, smallest: float, largest: float
) -> list[Bool[np.ndarray, "h w"]]:
    """The masks of plausible size, and only the first of nearly equal ones.

    Args:
      smallest: least share of the image.
      largest: largest share of the image. A larger mask is the background.
    """
    kept: list[Bool[np.ndarray, "h w"]] = []
    for mask in masks:
        if not smallest <= mask.mean() <= largest or not mask.any():
            continue
        overlaps = ((mask & other).sum() / (mask | other).sum() for other in kept)
        if all(overlap < _SAME_OVERLAP for overlap in overlaps):
            kept.append(mask)
    return kept
