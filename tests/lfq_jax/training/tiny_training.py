"""What the tests of training share: tiny configs, photographs, and a whole training."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from lfq_jax.config import (
    AugmentConfig,
    MemoryBankConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from lfq_jax.quantizers.config import LFQConfig
from lfq_jax.training.data import (
    Photographs,
    TrainingData,
    anomalous_samples,
    good_samples,
    split,
)
from lfq_jax.training.loop import (
    NO_HOOKS,
    ONE_DEVICE,
    DetectorConfig,
    Hooks,
    Machine,
    Trained,
    train,
)

MODEL = ModelConfig(
    image_px=32,
    stem=4,
    reconstructive_widths=(8, 12),
    discriminative_widths=(8, 12),
    quantizer=LFQConfig(bits=6),
    memory_bank=MemoryBankConfig(levels=2, patches=128, window=1),
    kernels="he",
    prior=0.05,
)
PLAIN = dataclasses.replace(MODEL, memory_bank=None)  # compiles faster
TRAIN = TrainConfig(
    epochs=6,
    epoch_images=32,
    batch_size=4,
    log_every=8,
    crop_px=16,
    good_images=4,
    validate_every_epochs=2,
    reconstructive_learning_rate=3e-3,
    discriminative_learning_rate=3e-3,
    augment=AugmentConfig(noise=0.02, brightness=0.03),
)
SCORE = ScoreConfig(image_score="smoothed_max", batch_size=4)


def photographs(count: int = 16) -> Photographs:
    """Noisy grey parts, and copies of them with a bright or dark square."""
    rng = np.random.default_rng(0)
    normals = rng.integers(110, 140, (2, 32, 32, 3)).astype(np.uint8)
    sources = np.arange(count, dtype=np.int32) % 2
    images, masks = normals[sources].copy(), np.zeros((count, 32, 32), np.uint8)
    for i in range(count):
        row, column = rng.integers(0, 22, 2)
        masks[i, row : row + 9, column : column + 9] = 1
        images[i][masks[i] > 0] = 240 if i % 2 else 20
    return Photographs(normals, images, masks, sources)


def run(
    folder: Path,
    *,
    model_config: ModelConfig = MODEL,
    train_config: TrainConfig = TRAIN,
    inputs: dict[str, Any] | None = None,
    machine: Machine = ONE_DEVICE,
    hooks: Hooks = NO_HOOKS,
) -> Trained:
    """Train a texture's detector on `photographs`, with seed 0."""
    data, held_out = split(photographs(), held_out=4)
    config = DetectorConfig(
        model=model_config, train=train_config, score=SCORE, is_texture=True, seed=0
    )
    return train(
        data,
        held_out,
        config,
        folder=folder,
        inputs=inputs,
        machine=machine,
        hooks=hooks,
    )


def unmeasured_data(data: Photographs, *, stride: int) -> TrainingData:
    """What a training without a memory bank draws from."""
    anomalous = anomalous_samples(data, stride=stride)
    return TrainingData(anomalous, good_samples(data.normals, stride=stride))
