"""Learning, scoring and measuring: the JAX side of LFQUIAD.

detector = lfq_jax.load("runs/<id>")
score, is_anomalous, heat_map, mask, calibrated = detector(image)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfq_jax import quantizers
    from lfq_jax.backbones import Backbone, load_backbone
    from lfq_jax.config import (
        PRESETS,
        FeatureAutoencoderConfig,
        KnnConfig,
        MemoryBankConfig,
        ModelConfig,
        ReconstructionConfig,
        ScoreConfig,
        SubspaceConfig,
        TrainConfig,
        TrainingFreeConfig,
    )
    from lfq_jax.export.writer import Parity, export_detector
    from lfq_jax.inference.detector import Detector, Prediction, load
    from lfq_jax.metrics.evaluation import Evaluation, evaluate
    from lfq_jax.training.fit import fit
    from lfq_jax.training.loop import DetectorConfig, Hooks, Machine, train
    from lfq_jax.training.trained import Trained

_HOMES = {
    "Detector": "inference.detector",
    "Prediction": "inference.detector",
    "load": "inference.detector",
    "DetectorConfig": "training.loop",
    "Hooks": "training.loop",
    "Machine": "training.loop",
    "Trained": "training.trained",
    "train": "training.loop",
    "fit": "training.fit",
    "FeatureAutoencoderConfig": "config",
    "KnnConfig": "config",
    "MemoryBankConfig": "config",
    "ModelConfig": "config",
    "PRESETS": "config",
    "ScoreConfig": "config",
    "ReconstructionConfig": "config",
    "SubspaceConfig": "config",
    "TrainConfig": "config",
    "TrainingFreeConfig": "config",
    "Evaluation": "metrics.evaluation",
    "evaluate": "metrics.evaluation",
    "Backbone": "backbones",
    "load_backbone": "backbones",
    "Parity": "export.writer",
    "export_detector": "export.writer",
}

__all__ = [
    "PRESETS",
    "Backbone",
    "Detector",
    "DetectorConfig",
    "Evaluation",
    "FeatureAutoencoderConfig",
    "Hooks",
    "KnnConfig",
    "Machine",
    "MemoryBankConfig",
    "ModelConfig",
    "Parity",
    "Prediction",
    "ReconstructionConfig",
    "ScoreConfig",
    "SubspaceConfig",
    "TrainConfig",
    "Trained",
    "TrainingFreeConfig",
    "evaluate",
    "export_detector",
    "fit",
    "load",
    "load_backbone",
    "quantizers",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use. The package itself imports no jax."""
    if name == "quantizers":
        return importlib.import_module("lfq_jax.quantizers")
    if name in _HOMES:
        home = importlib.import_module(f"lfq_jax.{_HOMES[name]}")
        return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
