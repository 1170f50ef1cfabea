"""Input and output of the diffusion painters."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from agm_torch.prompts import PromptPair


class Job(NamedTuple):
    """A window to be painted. All jobs of a batch have the same size."""

    image: Image.Image
    mask: Bool[np.ndarray, "latent_h latent_w"]
    prompts: PromptPair
    seed: int

    @property
    def generator(self) -> torch.Generator:
        """Random generator on the CPU, so that all devices have the same noise."""
        return torch.Generator().manual_seed(self.seed)


def as_bytes(
    images: Float[np.ndarray, "n h w 3"], dtype: torch.dtype
) -> UInt8[np.ndarray, "n h w 3"]:
    """Images in [0, 1] as grey levels.

    Raises:
      ValueError: some values are not finite, as can happen with fp16.
    """
    if not np.isfinite(images).all():
        raise ValueError(
            f"the diffusion model gives numbers that are not finite in {dtype}; use "
            "precision bf16 or fp32"
        )
    return (images * 255).round().astype(np.uint8)
