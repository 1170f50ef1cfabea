"""The presets: named combinations of configurations."""

import dataclasses
from dataclasses import dataclass

from lfq_jax.config.memory_bank import MemoryBankConfig
from lfq_jax.config.model import ModelConfig
from lfq_jax.config.scoring import ScoreConfig
from lfq_jax.config.training import AugmentConfig, LossConfig, TrainConfig


@dataclass(frozen=True)
class Preset:
    """A named combination of configurations."""

    model: ModelConfig
    train: TrainConfig
    score: ScoreConfig
    texture_px: int = 0
    """Largest `image_px` of textures, which keep the photographs' resolution up to it.
    0: `image_px` of the model."""
    object_px: int = 0
    """Largest `image_px` of objects; 0 as above."""
    backbone: str = "none"
    """Name of the pretrained backbone if the user names none, and if its weights are
    installed."""


_PAPER = Preset(ModelConfig(), TrainConfig(), ScoreConfig())


_CPU = Preset(
    ModelConfig(
        stem=4,
        reconstructive_widths=(24, 48),
        discriminative_widths=(32, 48, 64),
        discriminator_input="residual",
        memory_bank=MemoryBankConfig(),
        kernels="he",
        prior=0.05,
    ),
    TrainConfig(
        epochs=30,
        epoch_images=64,
        batch_size=8,
        crop_px=96,
        anomalous_share=0.8,
        reconstructive_learning_rate=3e-3,
        discriminative_learning_rate=2e-3,
        warmup=0.05,
        validate_every_epochs=15,
        loss=LossConfig(dice_weight=0.2),
        augment=AugmentConfig(
            brightness=0.05,
            contrast=0.1,
            colour=0.03,
            light_gradient=0.1,
            noise=0.02,
        ),
    ),
    ScoreConfig(image_score="smoothed_max", smoothing_sigma=0.01),
)


# The best preset in measurements on two cores. At 256 px, a texture's cracks and
# scratches are only a pixel wide. Above 256 px, the edges of slightly rotated objects
# cause false alarms.
_BEST = dataclasses.replace(_CPU, texture_px=384, backbone="efficientnet_lite0")


PRESETS: dict[str, Preset] = {"best": _BEST, "cpu": _CPU, "paper": _PAPER}
