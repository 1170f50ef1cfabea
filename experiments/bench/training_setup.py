"""A preset's trainer and random training data, for the benchmarks of training."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lfq_jax.config import PRESETS, ModelConfig, TrainConfig
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.memory_bank.map_channels import map_channels
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.data import Samples, TrainingData
from lfq_jax.training.step import Trainer

Dtype = Literal["auto", "float32", "bfloat16"]
PresetName = Literal["cpu", "paper"]
STEPS = 10_000  # length of the schedules; no timed step reaches a decay


class Setup(NamedTuple):
    """A trainer and its training data."""

    trainer: Trainer
    data: TrainingData


def make_setup(
    name: PresetName, *, batch_size: int, dtype: Dtype, anomalous: int = 192
) -> Setup:
    """The setup of preset `name`.

    Args:
      batch_size: 0: the preset's.
      dtype: `auto`: the preset's.
      anomalous: number of anomalous samples.
    """
    preset = PRESETS[name]
    model, train = preset.model, preset.train
    if dtype != "auto":
        model = dataclasses.replace(model, compute_dtype=dtype)
    if batch_size:
        train = dataclasses.replace(train, batch_size=batch_size)
    trainer = Trainer(Model(model), train, steps=STEPS)
    return Setup(trainer, training_data(model, train, anomalous=anomalous))


def training_data(
    model: ModelConfig, train: TrainConfig, *, anomalous: int
) -> TrainingData:
    """Random images with one square anomaly each, in the shapes of a real run."""
    rng = np.random.default_rng(0)
    height, width = model.size
    channels = map_channels(model.memory_bank, is_texture=True)

    def samples(count: int, side: int) -> Samples:
        images = rng.integers(0, 256, (count, height, width, 3)).astype(np.uint8)
        masks = np.zeros((count, height, width), np.uint8)
        most = height - side + 1, width - side + 1
        for mask, (row, column) in zip(
            masks, rng.integers(0, most, (count, 2)), strict=True
        ):
            mask[row : row + side, column : column + side] = 1
        maps = DistanceMaps(
            *(
                jnp.asarray(rng.random((count, *model.grid, c)), jnp.float16)
                for c in channels
            )
        )
        normals = rng.integers(0, 256, images.shape).astype(np.uint8)
        return Samples(
            jnp.asarray(images), jnp.asarray(normals), jnp.asarray(masks), maps
        )

    good = train.good_images if model.memory_bank else 2
    return TrainingData(samples(anomalous, min(height, width) // 8), samples(good, 0))


def wait_for(setup: Setup) -> Setup:
    """`setup`, after all its arrays are computed."""
    return jax.block_until_ready(setup)
