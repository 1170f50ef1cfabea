"""Training-free detectors of 64 px on the filter bank, fitted in a second or two."""

import functools
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from lfq_jax.config import (
    TRAINING_FREE_SCORE,
    AugmentConfig,
    FeatureAutoencoderConfig,
    KnnConfig,
    ReconstructionConfig,
    SubspaceConfig,
    TrainingFreeConfig,
)
from lfq_jax.inference.appearance import appearance
from lfq_jax.inference.detector_files import DetectorRecord, save_detector
from lfq_jax.training.fit import fit
from lfq_jax.training.trained import Trained
from tests.tiny_detector import part

Method = Literal["knn", "subspace", "reconstruction"]
METHODS: tuple[Method, ...] = get_args(Method)
PX = 64
COMPARISONS = {
    "knn": KnnConfig(rotations=3, patches=1000),
    "subspace": SubspaceConfig(rotations=3),
    "reconstruction": ReconstructionConfig(
        FeatureAutoencoderConfig(hidden=64, steps=300), rotations=3
    ),
}


def config(method: Method) -> TrainingFreeConfig:
    return TrainingFreeConfig(image_px=PX, levels=2, comparison=COMPARISONS[method])


def fitted_anew(method: Method, *, seed: int = 0, count: int = 2) -> Trained:
    """A detector of `count` grained parts."""
    shots = np.stack([part(i, px=PX) for i in range(count)])
    return fitted_to(shots, method, seed=seed)


def fitted_to(shots: np.ndarray, method: Method, *, seed: int = 0) -> Trained:
    """A detector of shots of PX x PX px."""
    return fit(
        shots,
        config(method),
        TRAINING_FREE_SCORE,
        is_texture=False,
        seed=seed,
        augment=AugmentConfig(brightness=0.05, noise=0.02),
    )


fitted = functools.cache(fitted_anew)


def record(method: Method) -> DetectorRecord:
    return DetectorRecord(
        category="plate",
        kind="object",
        shots=2,
        seed=0,
        photograph_px=(PX, PX),
        bit_depth=8,
        model=config(method),
        score=TRAINING_FREE_SCORE,
        appearance=appearance(np.stack([part(i, px=PX) for i in range(2)])),
        variables=fitted(method).variables,
    )


def write_run(run: Path, method: Method) -> Path:
    """A run folder with one detector, of the category `plate`."""
    folder = run / "plate" / "detector"
    folder.parent.mkdir(parents=True)
    (run / "config.json").write_text('{"config": {}, "provenance": {}}\n')
    trained = fitted(method)
    images = np.stack([*trained.validation_images[:2], part(9, px=PX, spot=True)])
    thresholds = trained.thresholds
    save_detector(folder, record(method), thresholds=thresholds, validation=images)
    return run
