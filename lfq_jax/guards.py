"""What stops a training, said so that its user knows what to change."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax

from lfq_jax.step import Interval, Trainer, TrainState

GIB = 2**30


def require_finite(interval: Interval, *, step: int, has_checkpoint: bool) -> None:
    """Refuse an interval of steps in which anything was NaN or infinite.

    Args:
      interval: what `Trainer.run` found.
      step: the step before its first.
      has_checkpoint: whether there is anything to go back to.

    Raises:
      ValueError: names the first bad step and what was not finite in it.
    """
    if interval.finite_steps == interval.steps:
        return
    figures = {name: float(value) for name, value in interval.first_bad.items()}
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if figures.get("quantizer/non_finite"):
        bad.insert(0, "z, which the encoder gives the quantizer")
    kept = (
        "the last good checkpoint is kept"
        if has_checkpoint
        else ("no checkpoint had been written yet")
    )
    raise ValueError(
        f"training diverged at step {step + int(interval.finite_steps) + 1}: "
        f"{', '.join(bad)} is not finite; {kept}; lower the learning rates "
        "(train.reconstructive_learning_rate, train.discriminative_learning_rate) or "
        "set train.clip_norm"
    )


@contextlib.contextmanager
def memory_errors(trainer: Trainer, state: TrainState, data: Any) -> Iterator[None]:
    """Say what a training step needed where the device has too little memory.

    Raises:
      ValueError: names what was needed and the fields that lower it.
    """
    shapes = jax.tree.map(_shape, (state, data))
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        message = str(error)
        if "RESOURCE_EXHAUSTED" not in message and "ut of memory" not in message:
            raise
        config, model = trainer.config, trainer.model.config
        raise ValueError(
            f"out of memory: a training step needs "
            f"{trainer.planned_bytes(*shapes) / GIB:.1f} GiB by the compiler's plan"
            f"{_has()}; lower train.batch_size ({config.batch_size}), "
            f"train.crop_px ({config.crop_px}) or model.image_px ({model.image_px}), "
            f"or set model.remat ({model.remat}) or model.compute_dtype "
            f"({model.compute_dtype}) to bfloat16"
        ) from error


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(x, "sharding", None)  # a restored array is still numpy's
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _has() -> str:
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return f", the device has {limit / GIB:.1f} GiB" if limit else ""
