"""Errors that stop a training, with the settings to change in each message."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lfq_jax.config import TrainConfig
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.data import Samples, TrainingData
from lfq_jax.training.state import TrainState
from lfq_jax.training.step import Trainer

log = logging.getLogger(__name__)
GIB = 2**30
_COPIES = 4  # of the photographs: as read, augmented, scored, and sampled in steps


@contextlib.contextmanager
def memory_errors(
    trainer: Trainer, state: TrainState, data: Any, *, at_once: int = 1
) -> Iterator[None]:
    """Turn jax's out-of-memory error into one line with the settings to change.

    Args:
      trainer: the trainer whose step runs in this context.
      state: the state of the training.
      data: the data of the training.
      at_once: number of trainings that share the device.

    Raises:
      ValueError: with the memory that a step needs and the fields that lower it.
    """
    shapes = jax.tree.map(_shape, (state, data))
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        message = str(error)
        if "RESOURCE_EXHAUSTED" not in message and "ut of memory" not in message:
            raise
        config, model = trainer.config, trainer.model.config
        shared = f"at_once ({at_once}), " if at_once > 1 else ""
        raise ValueError(
            f"out of memory: a training step needs "
            f"{trainer.planned_bytes(*shapes) / GIB:.1f} GiB by the compiler's plan"
            f"{_device_memory()}; lower {shared}"
            f"train.batch_size ({config.batch_size}), "
            f"train.crop_px ({config.crop_px}) or the images' size ({model.image_px}), "
            f"or set model.remat ({model.remat}) or model.compute_dtype "
            f"({model.compute_dtype}) to bfloat16"
        ) from error


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    # A restored array is numpy's, and what was prepared on the host is not committed to
    # a device: the step decides where those go.
    sharding = x.sharding if getattr(x, "committed", False) else None
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _device_memory() -> str:
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return f", the device has {limit / GIB:.1f} GiB" if limit else ""


def require_memory(
    at_once: int, model: Model, train: TrainConfig, *, anomalies: int, shots: int
) -> None:
    """Refuse more trainings at once than fit in memory, before any of them starts.

    Args:
      at_once: number of trainings that share the device.
      model: the model of the largest training.
      train: the settings of the trainings.
      anomalies: synthetic anomalies per training, including the held-out ones.
      shots: good parts per training.

    Raises:
      ValueError: with the memory they need and the number that fits.
    """
    per_training = training_bytes(model, train, anomalies=anomalies, shots=shots)
    free = _free_bytes()
    if free is None or at_once * per_training <= free:
        return
    raise ValueError(
        f"at_once {at_once} needs about {at_once * per_training / GIB:.1f} GiB, "
        f"{per_training / GIB:.1f} per category, and {free / GIB:.1f} are free: there "
        f"is room for {max(1, int(free // per_training))}"
    )


@functools.lru_cache(maxsize=8)  # the compiler's plan takes seconds
def training_bytes(
    model: Model, train: TrainConfig, *, anomalies: int, shots: int
) -> int:
    """Estimated memory of a training: its photographs, and a step's compiler plan."""
    trainer = Trainer(model, train, steps=train.steps(shots))
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    good = train.good_images if model.config.memory_bank else shots
    data = TrainingData(_samples(model, anomalies), _samples(model, good))
    photographs = data_bytes(model, train, anomalies=anomalies, shots=shots)
    # The compiler's plan includes the photographs once.
    return trainer.planned_bytes(state, data) + (_COPIES - 1) * photographs


def _samples(model: Model, count: int) -> Samples:
    """Shapes of the samples of `count` prepared photographs."""
    config = model.config
    maps = [
        jax.ShapeDtypeStruct((count, *config.grid, channels), jnp.float16)
        for channels in model.map_channels
    ]
    pixels: Any = jax.ShapeDtypeStruct((count, *config.size, 3), jnp.uint8)
    mask: Any = jax.ShapeDtypeStruct((count, *config.size), jnp.uint8)
    return Samples(pixels, pixels, mask, DistanceMaps(*maps))  # pyright: ignore[reportArgumentType]


def _free_bytes() -> int | None:
    """Free memory of the device, or of the machine if jax runs on its CPU.

    None if unknown.
    """
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(kib[0]) if kib else None


DATA_SHARE = 0.5  # largest share of a device's memory for the training data


def data_bytes(model: Model, train: TrainConfig, *, anomalies: int, shots: int) -> int:
    """Size in bytes of a run's training data."""
    good = train.good_images if model.config.memory_bank else shots
    data = _samples(model, anomalies), _samples(model, good)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(data))


def stays_on_host(config: TrainConfig, size: int, *, at_once: int = 1) -> bool:
    """Whether training data stay on the host, which then sends them step by step.

    Logs where the data are, as a warning if they stay on the host.

    Args:
      size: of the data, in bytes.
      at_once: number of trainings that share the device's memory equally.
    """
    statistics = jax.local_devices()[0].memory_stats() or {}
    room = DATA_SHARE * statistics.get("bytes_limit", float("inf")) / at_once
    on_host = config.data_on == "host" or (config.data_on == "auto" and size > room)
    where = "the host, sent step by step" if on_host else "the device"
    level = logging.WARNING if on_host else logging.INFO
    log.log(level, "training data: %.0f MB, on %s", size / 1e6, where)
    return on_host
