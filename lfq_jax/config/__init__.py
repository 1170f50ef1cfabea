"""Every choice of the learning side, as frozen dataclasses. Standard library only."""

from lfq_jax.config.memory_bank import BackboneConfig, MemoryBankConfig
from lfq_jax.config.model import ModelConfig
from lfq_jax.config.presets import PRESETS, Preset
from lfq_jax.config.scoring import IMAGE_SCORES, ImageScore, ScoreConfig
from lfq_jax.config.serialization import as_json, from_json
from lfq_jax.config.training import AugmentConfig, LossConfig, TrainConfig

__all__ = [
    "IMAGE_SCORES",
    "PRESETS",
    "AugmentConfig",
    "BackboneConfig",
    "ImageScore",
    "LossConfig",
    "MemoryBankConfig",
    "ModelConfig",
    "Preset",
    "ScoreConfig",
    "TrainConfig",
    "as_json",
    "from_json",
]
