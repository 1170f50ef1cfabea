"""Configuration of the generator's models. Standard library only."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agm_torch.cache_folder import cache_folder

Precision = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class WeightsConfig:
    """Where weights are stored, and whether missing ones may be downloaded."""

    folder: Path | None = None
    """Folder of downloaded files. Default: $LFQUIAD_WEIGHTS, or `weights` in
    $LFQUIAD_CACHE, or ~/.cache/lfquiad/weights."""
    offline: bool = False
    """Never open a connection."""

    @property
    def directory(self) -> Path:
        """`folder`, or its default."""
        named = os.environ.get("LFQUIAD_WEIGHTS")
        return self.folder or Path(named or cache_folder() / "weights")

    @property
    def may_connect(self) -> bool:
        """Whether a missing file may be downloaded. HF_HUB_OFFLINE forbids it, too."""
        from datasets.weights.download import may_connect  # --help needs no datasets

        return may_connect(offline=self.offline)


@dataclass(frozen=True)
class GroundedSamConfig:
    """Grounding DINO finds the part by its name, SAM outlines it (paper, 3.2)."""

    sam: str = "sam_vit_h"
    """SAM weights: a name that `python -m agm_torch weights list` prints, or a file.
    The size of the encoder is read from the file."""
    sam_sha256: str | None = None
    """Required sha256 of the file. Default: the table's."""
    dino: str = "groundingdino_swint_ogc"
    """Grounding DINO weights: a name that `weights list` prints, or a file."""
    dino_sha256: str | None = None
    """Required sha256 of the file. Default: the table's."""
    bert: str = "bert-base-uncased"
    """The detector's tokenizer: a name of `weights list`, or a folder. The weights of
    its text encoder come with Grounding DINO's own."""
    prompt: str = "a {class_name}"
    """Text prompt of the detector."""
    box_threshold: float = 0.35
    """Boxes of lower confidence are ignored."""
    text_threshold: float = 0.25
    """Words of lower confidence are ignored."""
    detector_px: int = 800
    """Shorter side of the image that the detector is given, in pixels."""
    max_boxes: int = 8
    """How many boxes, best first, are outlined. SAM proposes three masks per box."""
    min_proposal: float = 0.002
    """Smallest proposal, as a share of the image."""
    max_proposal: float = 0.95
    """Largest proposal, as a share of the image. Larger ones are background."""
    fallback: Literal["foreground", "error"] = "foreground"
    """What to do if the detector finds nothing. The provenance records it."""

    def __post_init__(self) -> None:
        check_range("box_threshold", self.box_threshold, 0.0, 1.0)
        check_range("text_threshold", self.text_threshold, 0.0, 1.0)
        check_range("detector_px", self.detector_px, 32, 4096)
        check_range("max_boxes", self.max_boxes, 1, 100)
        check_range("min_proposal", self.min_proposal, 0.0, self.max_proposal)
        check_range("max_proposal", self.max_proposal, 0.0, 1.0)
        if not self.prompt.strip():
            raise ValueError('grounded_sam.prompt is empty; try "a {class_name}"')


@dataclass(frozen=True)
class DiffusionConfig:
    """Stable Diffusion paints the defect inside the mask (paper, 3.2 and 4.3)."""

    pipeline: Literal["diffedit", "inpaint"] = "diffedit"
    """diffedit: as in the paper. inpaint: for inpainting checkpoints."""
    model: str | None = None
    """A name of `weights list`, a name on the hub (owner/name), or a folder. Default:
    stable-diffusion-v1-4, or stable-diffusion-inpainting with the inpaint pipeline."""
    revision: str | None = None
    """Commit on the hub, so that a name stays one set of weights. Default: the
    table's."""
    words: Literal["paper", "category"] = "paper"
    """paper: the prompt pairs of the paper. category: one pair per defect word of the
    category. An unsupervised method does not know the kinds of defect of a benchmark,
    so report the use of category."""
    prompts: Path | None = None
    """Your own prompt bank, in the format of agm_torch/prompts.toml."""
    positive: tuple[str, ...] = ()
    """What to paint, e.g. "broken {class_name} with defect". Default: the bank's."""
    negative: tuple[str, ...] = ()
    """What to avoid. Default: the bank's."""
    strength: float = 0.8
    """Share of the denoising steps that the masked region goes through, in (0, 1]."""
    steps: int = 50
    """Denoising steps at strength 1."""
    guidance: float = 7.5
    """Guidance scale: weight of the positive against the negative prompt."""
    inversion_guidance: float = 1.0
    """Guidance scale while DiffEdit inverts the image to noise. Above 1, detail is
    lost."""
    crop: float = 2.0
    """Side of the crop around the mask, relative to the mask's side."""
    min_crop_px: int = 160
    """Shortest side of the crop. Magnified to the model's resolution, a smaller crop is
    a blur."""
    model_px: int | None = None
    """Side of the square with as many pixels as the crop that the model is given.
    Default: the resolution that the model was trained with."""
    batch: int = 4
    """Records painted together on a GPU. The CPU paints one at a time, so that bytes
    never depend on which records are made together."""
    clip_margin: float | None = None
    """Smallest CLIP margin between positive and negative prompt. None: no such
    gate."""
    clip: str = "clip-vit-large-patch14"
    """CLIP model of this gate: a name of `weights list`, or a folder."""

    def __post_init__(self) -> None:
        if not 0.0 < self.strength <= 1.0:
            raise ValueError(f"strength must lie in (0, 1], got {self.strength}")
        if int(self.steps * self.strength) < 1:
            raise ValueError(
                f"steps * strength must be at least 1, got {self.steps} * "
                f"{self.strength}: nothing would be painted"
            )
        for name in ("positive", "negative"):
            if not all(prompt.strip() for prompt in getattr(self, name)):
                raise ValueError(
                    f"diffusion.{name} is empty: write a prompt, or leave it out"
                )
        check_range("guidance", self.guidance, 0.0, 100.0)
        check_range("inversion_guidance", self.inversion_guidance, 0.0, 100.0)
        check_range("crop", self.crop, 1.0, 100.0)
        check_range("min_crop_px", self.min_crop_px, 16, 4096)
        check_range("batch", self.batch, 1, 1024)
        if self.model_px is not None:
            check_range("model_px", self.model_px, 64, 4096)

    @property
    def model_name(self) -> str:
        """`model`, or its default."""
        inpaint = self.pipeline == "inpaint"
        default = "stable-diffusion-inpainting" if inpaint else "stable-diffusion-v1-4"
        return self.model or default


@dataclass(frozen=True)
class DeviceConfig:
    """Where the models run."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1. auto takes a GPU where there is one."""
    precision: Precision = "auto"
    """auto: fp32 on the CPU, bf16 on a GPU that has it, else fp16."""
    threads: int = 1
    """CPU threads of one process. The bytes can depend on them, so they are part of the
    cache's key. For more cores, use workers."""

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 1, 1024)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise a ValueError unless `value` is in [low, high]."""
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")
