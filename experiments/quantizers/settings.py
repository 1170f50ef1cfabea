"""Settings of the comparison, and the place of every row's files in its run folder."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.run.anomaly_options import AnomalyOptions
from experiments.run.command_line import read_command_line, require_at_least
from experiments.run.data_options import DataOptions
from experiments.run.folder import RunFolder
from lfq_jax.config import (
    AugmentConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
    from_json,
)
from lfq_jax.quantizers.registry import QUANTIZERS

VARIANTS = ("lfq", "fsq", "bsq", "vq", "simvq", "none")
VARIANTS_HELP = (
    f"Quantizers by name: {', '.join(QUANTIZERS)}. Fields that differ from their "
    "default follow a colon: `lfq:bits=1` `lfq:normalisation=layer,temperature=0.1` "
    "`fsq:levels=(8,6,5)`."
)
CATEGORIES = {"rendered_ad": ("woven_cloth", "capsule")}
"""Default categories. For other data sets: all of them."""
MODEL = ModelConfig(
    image_px=128,
    stem=4,
    reconstructive_widths=(24, 48),
    discriminative_widths=(24, 48),
    kernels="he",
    prior=0.05,
)
"""Networks whose result depends on what the bottleneck lets through.

The code has 16 x 16 positions, each for 8 x 8 pixels of three colours. As in the paper,
the discriminator's only inputs are the reconstruction and the image. The networks are
small, so that a row takes a minute on two cores."""
TRAIN = TrainConfig(
    batch_size=4,
    reconstructive_learning_rate=3e-3,
    discriminative_learning_rate=1e-3,
    warmup=0.05,
    patience_epochs=0,
    log_every=20,
    augment=AugmentConfig(
        flips="none",
        quarter_turns="never",
        brightness=0.05,
        contrast=0.1,
        colour=0.03,
        light_gradient=0.1,
        noise=0.02,
    ),
)
SCORE = ScoreConfig(image_score="smoothed_max", smoothing_sigma=0.01)


@dataclass(frozen=True, kw_only=True)
class CompareQuantizers(AnomalyOptions, DataOptions):
    """Train one detector per quantizer on the same data, and compare them."""

    variants: Annotated[tuple[str, ...], tyro.conf.arg(help=VARIANTS_HELP)] = VARIANTS
    shots: int = 2
    """Good parts to learn from, per category."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One repetition per seed. A seed chooses the shots, anomalies, initial weights and
    every random draw."""
    steps: int = 160
    """Optimisation steps of every training."""
    categories: tuple[str, ...] = ()
    """Categories to run. Default: a texture and an object of rendered_ad, or all
    categories of another data set."""
    out: Path | None = None
    """The run's folder. Default: runs/<date>-<time>-quantizers."""
    resume: Path | None = None
    """Resume the comparison in this folder, with the settings it was started with."""
    anomalies: int = 96
    """Synthetic anomalies to train on."""
    validation_anomalies: int = 24
    """Synthetic anomalies to hold out. `survival` is measured on them."""
    model: ModelConfig = MODEL
    """The networks. Each variant replaces their `quantizer`."""
    train: TrainConfig = TRAIN
    """The optimisation. `--steps` replaces its epochs."""
    score: ScoreConfig = SCORE
    """How maps become scores and decisions."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, steps=1, anomalies=1, validation_anomalies=1)
        require_at_least(self, agm_workers=1, seeds=0)
        for name in ("variants", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"--{name} must be one or more, got none")
            if len(set(values)) < len(values):
                given = " ".join(map(str, values))
                raise ValueError(f"--{name} must all differ, got {given}")
        if self.out and self.resume:
            raise ValueError(
                "--out and --resume exclude each other: a run keeps its folder"
            )

    @property
    def schedule(self) -> TrainConfig:
        """The optimisation with `steps` steps and one validation, after the last step.

        The last weights are therefore the ones that are measured.
        """
        images = self.steps * self.train.batch_size
        return dataclasses.replace(
            self.train,
            epochs=1,
            epoch_images=images,
            validate_every_epochs=1,
            patience_epochs=0,
            log_every=min(self.train.log_every, self.steps),
        )

    def is_texture(self, kind: str) -> bool:
        """Whether to train the category as a texture.

        False if nothing depends on it, so that one compiled step serves both kinds.
        """
        augment = self.train.augment
        depends = "auto" in (augment.flips, augment.quarter_turns)
        return kind == "texture" and (depends or self.model.memory_bank is not None)


def read_settings(argv: Sequence[str]) -> CompareQuantizers:
    """The settings that `argv` asks for. Exits with status 2 on a mistake."""
    prog = "python -m experiments.quantizers"
    return read_command_line(CompareQuantizers(), prog=prog, argv=argv)


def resumed_settings(settings: CompareQuantizers) -> CompareQuantizers:
    """The settings of the comparison that `--resume` names; `settings` without it."""
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "quantizers").config
    started = from_json(CompareQuantizers, config)
    return dataclasses.replace(started, out=None, resume=settings.resume)


def row_folder(run: Path, category: str, seed: int, variant: str) -> Path:
    """The folder of a row's log, checkpoint and pictures."""
    variant_folder = re.sub(r"[^\w.=-]+", "_", variant).strip("_")
    return run / category / f"seed{seed}" / variant_folder
