"""Every choice of the learning side, as frozen dataclasses. Standard library only."""

from lfq_jax.config.feature_autoencoder import FeatureAutoencoderConfig
from lfq_jax.config.memory_bank import BackboneConfig, MemoryBankConfig
from lfq_jax.config.model import ModelConfig
from lfq_jax.config.presets import PRESETS, Preset
from lfq_jax.config.scoring import IMAGE_SCORES, ImageScore, ScoreConfig
from lfq_jax.config.serialization import as_json, from_json
from lfq_jax.config.training import AugmentConfig, LossConfig, TrainConfig
from lfq_jax.config.training_free import (
    TRAINING_FREE_SCORE,
    KnnConfig,
    ReconstructionConfig,
    SubspaceConfig,
    TrainingFreeConfig,
)

__all__ = [
    "IMAGE_SCORES",
    "PRESETS",
    "TRAINING_FREE_SCORE",
    "AugmentConfig",
    "BackboneConfig",
    "FeatureAutoencoderConfig",
    "ImageScore",
    "KnnConfig",
    "LossConfig",
    "MemoryBankConfig",
    "ModelConfig",
    "Preset",
    "ReconstructionConfig",
    "ScoreConfig",
    "SubspaceConfig",
    "TrainConfig",
    "TrainingFreeConfig",
    "as_json",
    "from_json",
]
