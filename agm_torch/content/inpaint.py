"""Inpainting with Stable Diffusion: the alternative for inpainting checkpoints.

Takes models with 9 input channels (noise, mask, masked image), and ordinary ones with
4, for which the latents outside the mask are reset at every step.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from agm_torch.content.crops import LATENT_PX
from agm_torch.content.painting import Job, as_bytes
from agm_torch.content.pipelines import InpaintPipeline, load_pipeline, model_px, quiet
from agm_torch.device import Placement
from agm_torch.model_config import DiffusionConfig


class Inpaint:
    """Paints with inpainting checkpoints."""

    def __init__(self, folder: Path, config: DiffusionConfig, where: Placement) -> None:
        self._pipeline = load_pipeline(InpaintPipeline, folder, where)
        self._config = config
        self._dtype = where.dtype
        self.tokenizer = self._pipeline.tokenizer
        self.model_px = model_px(self._pipeline)

    def paint(self, jobs: Sequence[Job]) -> UInt8[np.ndarray, "n h w 3"]:
        """One image per job, painted inside the mask from the job's own noise."""
        width, height = jobs[0].image.size
        with quiet():
            images, _ = self._pipeline(
                prompt=[job.prompts.positive for job in jobs],
                negative_prompt=[job.prompts.negative for job in jobs],
                image=[job.image for job in jobs],
                mask_image=[_mask_image(job) for job in jobs],
                height=height,
                width=width,
                strength=self._config.strength,
                num_inference_steps=self._config.steps,
                guidance_scale=self._config.guidance,
                generator=[job.generator for job in jobs],
                output_type="np",
                return_dict=False,
            )
        return as_bytes(np.asarray(images), self._dtype)


def _mask_image(job: Job) -> Image.Image:
    """White where to paint, in whole latents."""
    pixels = job.mask.repeat(LATENT_PX, axis=0).repeat(LATENT_PX, axis=1)
    return Image.fromarray(pixels.astype(np.uint8) * 255)
