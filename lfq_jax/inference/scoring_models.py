"""The model of a detector, by its config: LFQUIAD or a training-free one."""

from lfq_jax.config import ModelConfig, TrainingFreeConfig
from lfq_jax.config.training_free import COMPARISONS
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.variables import Variables
from lfq_jax.training_free.model import TrainingFree, TrainingFreeVariables

DetectorModel = ModelConfig | TrainingFreeConfig
DetectorVariables = Variables | TrainingFreeVariables
LFQUIAD = "lfquiad"
CONFIGS: dict[str, type[DetectorModel]] = {
    LFQUIAD: ModelConfig,
    **dict.fromkeys(COMPARISONS, TrainingFreeConfig),
}
"""Class of a detector's config, by its method."""


def method_of(config: DetectorModel) -> str:
    """The method in result rows and detector files, a key of `CONFIGS`."""
    return config.method if isinstance(config, TrainingFreeConfig) else LFQUIAD


def scoring_model(config: DetectorModel, *, is_texture: bool) -> Model | TrainingFree:
    """The model that the config describes, without arrays."""
    if isinstance(config, TrainingFreeConfig):
        return TrainingFree(config, is_texture=is_texture)
    return Model(config, is_texture=is_texture)
