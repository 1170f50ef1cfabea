"""What can be chosen about the models behind the diffusion generator. Stdlib only."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agm_torch.cache_folder import cache_folder

Precision = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class WeightsConfig:
    """Where weights are looked for, and whether they may be fetched."""

    folder: Path | None = None
    """Where downloaded files lie. Default: $LFQUIAD_WEIGHTS, or `weights` in
    $LFQUIAD_CACHE, or ~/.cache/lfquiad/weights."""
    offline: bool = False
    """Never open a connection."""

    @property
    def directory(self) -> Path:
        """`folder`, with its default filled in."""
        named = os.environ.get("LFQUIAD_WEIGHTS")
        return self.folder or Path(named or cache_folder() / "weights")

    @property
    def may_connect(self) -> bool:
        """Whether a missing file may be fetched; HF_HUB_OFFLINE forbids it too."""
        hub = os.environ.get("HF_HUB_OFFLINE", "").upper()
        return not self.offline and hub not in {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class GroundedSamConfig:
    """Grounding DINO finds the part by its name, SAM outlines it (paper 3.2)."""

    sam: str = "sam_vit_h"
    """SAM weights: a name from the table (sam_vit_h, sam_vit_l, sam_vit_b) or a file.
    The size of the encoder is read from the file."""
    sam_sha256: str | None = None
    """The file's sha256, refused if it differs. Default: the table's."""
    dino: str = "groundingdino_swint_ogc"
    """Grounding DINO weights: a name from the table or a file."""
    dino_sha256: str | None = None
    """The file's sha256, refused if it differs. Default: the table's."""
    bert: str = "bert-base-uncased"
    """The detector's tokenizer: a name from the table or a folder. The weights of its
    text encoder come with Grounding DINO's own."""
    prompt: str = "a {class_name}"
    """What the detector is asked for."""
    box_threshold: float = 0.35
    """Boxes of lower confidence are ignored."""
    text_threshold: float = 0.25
    """Words of lower confidence are ignored."""
    detector_px: int = 800
    """Shorter side of the image that the detector sees."""
    max_boxes: int = 8
    """The best so many boxes are outlined. SAM proposes three masks a box."""
    min_proposal: float = 0.002
    """Smallest proposal, as a share of the image."""
    max_proposal: float = 0.95
    """Largest proposal, as a share of the image: above it, it is the background."""
    fallback: Literal["foreground", "error"] = "foreground"
    """What to do where the detector finds nothing. The provenance says so."""

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
    """Stable Diffusion paints the defect inside the mask (paper 3.2 and 4.3)."""

    pipeline: Literal["diffedit", "inpaint"] = "diffedit"
    """DiffEdit as the paper, or inpainting for inpainting checkpoints."""
    model: str | None = None
    """A name from the table, a name on the hub (owner/name), or a folder. Default:
    stable-diffusion-v1-4, or stable-diffusion-inpainting with the inpaint pipeline."""
    revision: str | None = None
    """The hub's commit, so that one name stays one set of weights. Default: the
    table's."""
    words: Literal["paper", "category"] = "paper"
    """Which prompts of the bank: the paper's pairs, or one a defect word of the
    category. Naming a benchmark's kinds of defect is knowledge that an unsupervised
    method does not have: say so where it is used."""
    prompts: Path | None = None
    """A prompt bank of one's own, as agm_torch/prompts.toml."""
    positive: tuple[str, ...] = ()
    """What to paint, e.g. "broken {class_name} with defect". Default: the bank's."""
    negative: tuple[str, ...] = ()
    """What to stay away from. Default: the bank's."""
    strength: float = 0.8
    """How far back into noise the masked region goes, in (0, 1]."""
    steps: int = 50
    """Denoising steps at strength 1."""
    guidance: float = 7.5
    """Weight of the positive against the negative prompt."""
    inversion_guidance: float = 1.0
    """The same while DiffEdit turns the image into noise. Above 1 it loses detail."""
    crop: float = 2.0
    """Side of the crop around the mask, relative to the mask's own."""
    min_crop_px: int = 160
    """Shortest side of the crop: below it the model sees a blur."""
    model_px: int | None = None
    """Side of the square that has as many pixels as the crop when the model sees it.
    Default: what the model was trained with."""
    batch: int = 4
    """Records painted together on a GPU. The CPU paints one at a time, so that bytes
    never depend on which records are made together."""
    clip_margin: float | None = None
    """Smallest CLIP margin between positive and negative prompt. None: not asked."""
    clip: str = "clip-vit-large-patch14"
    """The CLIP model of that gate: a name from the table or a folder."""

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
                    f"diffusion.{name} is empty: say what is meant, or leave it out"
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
        """`model`, with its default filled in."""
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
    """Threads of one process on the CPU. Bytes can depend on it, so it is part of the
    cache's key; use workers for more cores."""

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 1, 1024)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises:
    ValueError: `value` does not lie in [low, high].
    """
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")
