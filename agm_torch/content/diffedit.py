"""Masked DiffEdit (Couairon et al. 2022), as in the paper (sections 3.2 and 4.3).

The image is encoded, inverted to noise step by step under the negative prompt, and
denoised under the positive prompt. After every step, all latents outside the mask are
reset to their values at that step. Only the sample of the encoder is random, so the
results vary with the mask and the prompt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from agm_torch.content.painting import Job, as_bytes
from agm_torch.content.pipelines import (
    DDIMInverseScheduler,
    DiffEditPipeline,
    load_pipeline,
    model_px,
    quiet,
    scheduler,
)
from agm_torch.device import Placement
from agm_torch.model_config import DiffusionConfig

_LATENT_CHANNELS = 4


class DiffEdit:
    """Paints as in the paper."""

    def __init__(self, folder: Path, config: DiffusionConfig, where: Placement) -> None:
        self._pipeline = load_pipeline(DiffEditPipeline, folder, where)
        self._pipeline.inverse_scheduler = scheduler(
            DDIMInverseScheduler, self._pipeline
        )
        channels = self._pipeline.unet.config.in_channels
        if channels != _LATENT_CHANNELS:
            raise ValueError(
                f"{folder} is an inpainting model ({channels} input channels); "
                "diffedit needs one with 4: use the inpaint pipeline"
            )
        self._config = config
        self._dtype = where.dtype
        self.tokenizer = self._pipeline.tokenizer
        self.model_px = model_px(self._pipeline)

    def paint(self, jobs: Sequence[Job]) -> UInt8[np.ndarray, "n h w 3"]:
        """One image per job: encode, invert, denoise inside the mask, decode."""
        config = self._config
        options: dict[str, Any] = {
            "num_inference_steps": config.steps,
            "inpaint_strength": config.strength,
            "return_dict": False,
        }
        windows: Any = [job.image for job in jobs]
        negative = [job.prompts.negative for job in jobs]
        with quiet():
            latents, _ = self._pipeline.invert(
                prompt=negative,
                image=windows,
                guidance_scale=config.inversion_guidance,
                generator=[job.generator for job in jobs],
                **options,
            )
            images, _ = self._pipeline(
                prompt=[job.prompts.positive for job in jobs],
                negative_prompt=negative,
                mask_image=_masks(jobs),
                image_latents=latents,
                guidance_scale=config.guidance,
                output_type="np",
                **options,
            )
        return as_bytes(np.asarray(images), self._dtype)


def _masks(jobs: Sequence[Job]) -> torch.Tensor:
    """n x 1 x latent_h x latent_w, 1 where to paint."""
    masks = np.stack([job.mask for job in jobs])[:, None]
    return torch.from_numpy(masks.astype(np.float32))
