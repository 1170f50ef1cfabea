"""Optional gate: does an image resemble the positive prompt more, for CLIP?"""

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)

# isort: split
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from jaxtyping import UInt8
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from agm_torch.content.pipelines import quiet
from agm_torch.prompts import PromptPair


class ClipGate:
    """CLIP (Radford et al. 2021) with its weights."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load a folder with the layout of `openai/clip-vit-large-patch14`.

        Raises:
          ValueError: the folder does not hold a CLIP model.
        """
        options: dict[str, Any] = {"local_files_only": True}
        try:
            with quiet():
                model: Any = CLIPModel.from_pretrained(
                    folder, use_safetensors=True, **options
                )
                processor: Any = CLIPProcessor.from_pretrained(
                    folder, use_fast=False, **options
                )
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"{folder} cannot be loaded as CLIP: {reason}") from None
        self._model = model.eval().requires_grad_(False).to(device)
        self._processor = processor
        self._text = lru_cache(maxsize=256)(self._text_direction)

    def margin(self, image: UInt8[np.ndarray, "h w 3"], prompts: PromptPair) -> float:
        """cos(image, positive) - cos(image, negative), in [-2, 2].

        Above 0, the image resembles the positive prompt more.
        """
        pixels = self._processor(images=image, return_tensors="pt").pixel_values
        with torch.inference_mode():
            features = self._model.get_image_features(pixels.to(self._model.device))
        direction = torch.nn.functional.normalize(features[0], dim=0)
        positive, negative = self._text(prompts.positive), self._text(prompts.negative)
        return float(direction @ positive - direction @ negative)

    def _text_direction(self, prompt: str) -> Tensor:
        tokens = self._processor(text=[prompt], return_tensors="pt", truncation=True)
        with torch.inference_mode():
            features = self._model.get_text_features(**tokens.to(self._model.device))
        return torch.nn.functional.normalize(features[0], dim=0)
