"""Loads diffusers pipelines from a folder: offline, without pickles, without messages.

All other imports from diffusers are here, too, after the torchvision shim.
"""

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)

# isort: split
import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import safetensors
import transformers
from diffusers import (
    DDIMInverseScheduler,  # pyright: ignore[reportPrivateImportUsage]
    DDIMScheduler,  # pyright: ignore[reportPrivateImportUsage]
    DiffusionPipeline,  # pyright: ignore[reportPrivateImportUsage]
)
from diffusers import (
    StableDiffusionDiffEditPipeline as DiffEditPipeline,  # pyright: ignore[reportPrivateImportUsage]
)
from diffusers import (
    StableDiffusionInpaintPipeline as InpaintPipeline,  # pyright: ignore[reportPrivateImportUsage]
)

from agm_torch.device import Placement

__all__ = [
    "DDIMInverseScheduler",
    "DiffEditPipeline",
    "InpaintPipeline",
    "load_pipeline",
    "model_px",
    "quiet",
    "scheduler",
]
Pipeline = TypeVar("Pipeline", bound=DiffusionPipeline)

# Deterministic sampling. The published folders have other schedulers
_DDIM = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}


def load_pipeline(cls: type[Pipeline], folder: Path, where: Placement) -> Pipeline:
    """A pipeline of class `cls` with the weights of a Stable Diffusion folder.

    The safety checker is left out. It has nothing to find on photographs of parts, and
    returns a black image when it errs.

    Raises:
      ValueError: the folder does not hold such a pipeline.
    """
    options: dict[str, Any] = {
        "torch_dtype": where.dtype,
        "variant": _variant(folder),
        "use_safetensors": True,
        "local_files_only": True,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    try:
        with quiet():
            pipeline = cls.from_pretrained(str(folder), **options)
            pipeline.scheduler = scheduler(DDIMScheduler, pipeline)
            pipeline.to(where.device)
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{folder} cannot be loaded as Stable Diffusion: {reason}"
        ) from None
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if hasattr(part, "requires_grad_"):
            part.requires_grad_(False)
    return pipeline


def scheduler(cls: type, pipeline: DiffusionPipeline) -> Any:
    """A scheduler with the noise schedule that the pipeline's model was trained for."""
    with quiet():  # it reports every option that only the other scheduler has
        return cls.from_config(pipeline.scheduler.config, **_DDIM)


def model_px(pipeline: DiffusionPipeline) -> int:
    """Side of the images on which the model was trained."""
    return pipeline.unet.config.sample_size * pipeline.vae_scale_factor


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress bars and deprecation warnings of the libraries."""
    levels = [
        (library, library.utils.logging.get_verbosity())
        for library in (diffusers, transformers)
    ]
    diffusers.utils.logging.disable_progress_bar()
    for library, _ in levels:
        library.utils.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for library, level in levels:
            library.utils.logging.set_verbosity(level)


def _variant(folder: Path) -> str | None:
    """`fp16` for a folder with safetensors in half precision only, else None."""
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    return "fp16" if half.exists() and not whole.exists() else None
