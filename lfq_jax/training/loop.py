"""The training of one detector: scan, validate, keep the best, stop early."""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lfq_jax.backbones import Backbone
from lfq_jax.calibration.calibrate import of_training
from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.config import ModelConfig, ScoreConfig, TrainConfig, as_json
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer
from lfq_jax.model.variables import Variables
from lfq_jax.training.checkpoint import Checkpoints, Progress
from lfq_jax.training.data import Photographs
from lfq_jax.training.data_feed import DeviceFeed, Feed, HostFeed
from lfq_jax.training.interval import require_finite
from lfq_jax.training.leave_one_out import LeaveOneOut
from lfq_jax.training.memory_budget import data_bytes, memory_errors, stays_on_host
from lfq_jax.training.metrics_log import MetricsFile
from lfq_jax.training.sharding import any_host, local, make_mesh, place
from lfq_jax.training.step import Trainer
from lfq_jax.training.validation import (
    Validation,
    make_validation,
    score_for_calibration,
    validate,
)

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 30.0
OnStep = Callable[[int, int, dict[str, float]], None]


class Trained(NamedTuple):
    """The best detector of a run."""

    variables: Variables
    scorer: Scorer
    validation: dict[str, float | None]
    """Figures on synthetic anomalies that the trainer never saw."""
    thresholds: Thresholds
    """From scores to decisions (paper 3.5)."""
    step: int
    """The step of the best validation."""
    seconds: float
    validation_images: np.ndarray
    """u8 [n h w 3]: what an export is checked with."""


def train(
    data: Photographs,
    held_out: Photographs,
    *,
    model_config: ModelConfig,
    train_config: TrainConfig,
    score_config: ScoreConfig,
    is_texture: bool,
    seed: int,
    folder: Path,
    devices: int = 1,
    at_once: int = 1,
    profile: Path | None = None,
    encoder: Backbone | None = None,
    inputs: dict[str, Any] | None = None,
    on_step: OnStep = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train one detector, or go on with the one that `folder` holds.

    Args:
      data: what it learns from.
      held_out: anomalies of other seeds, for validation.
      is_texture: whether mirrored and turned parts are good parts.
      seed: all randomness of the run is `fold_in(seed, step)`.
      folder: gets metrics.jsonl and checkpoints/.
      devices: how many of every host share a batch; 0 for all. Where `jax.distributed`
        runs, every host calls this alike, in a folder of its own; the first one keeps
        the checkpoints.
      at_once: how many trainings share the device, each in a thread of its own.
      profile: gets a trace of the second interval of steps, or of the last where there
        is no second, for jax's profiler.
      encoder: the pretrained network that `model_config.memory_bank.backbone` speaks of.
      inputs: what `data` and `held_out` were made from, as JSON has it: a checkpoint
        that was trained on anything else is refused.
      on_step: called with (step, steps, last figures) after every scan.
      should_stop: asked after every scan; on True the state is saved and
        `KeyboardInterrupt` raised.

    Raises:
      ValueError: where `folder` holds a checkpoint of another config or other inputs,
        the loss is no longer finite, memory does not suffice or the devices cannot
        share a batch.
    """
    started = time.monotonic()
    shots = data.normals.shape[0]
    steps = train_config.steps(shots)
    model = Model(model_config, is_texture=is_texture)
    preparation = LeaveOneOut(
        model_config, train_config.augment, is_texture, seed, encoder
    )
    trainer = Trainer(
        model,
        train_config,
        steps=steps,
        is_texture=is_texture,
        mesh=make_mesh(devices, batch_size=train_config.batch_size),
    )
    scorer = Scorer(model, score_config)
    key = jax.random.key(seed)
    step_key = jax.random.fold_in(key, 3)
    on_host = stays_on_host(
        train_config,
        data_bytes(
            model_config,
            train_config,
            is_texture=is_texture,
            anomalies=len(data.images),
            shots=shots,
        ),
        at_once=at_once,
    )
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.default_device(cpu) if on_host else nullcontext():
        others = preparation.others(data.normals)
        good = train_config.good_images
        prepared = preparation.training(data, good=good, others=others)
    if on_host:  # what is compared on the device is remembered there
        others = None
    state = trainer.init(
        jax.random.fold_in(key, 2),
        preparation.memory(data.normals, others=others),
        preparation.reader(prepared),
    )
    # A copy: the step donates its state's buffers.
    untrained = jax.tree.map(jnp.copy, state.variables)
    progress = Progress(state, untrained, np.array(-1.0), np.array(0))
    config = {
        "model": as_json(model_config),
        "train": as_json(train_config),
        "seed": seed,
        "shots": shots,
        "inputs": inputs,
    }
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder / "checkpoints", config, at_once=at_once)
    validation = make_validation(preparation, held_out, others)
    del others  # its memory, which the training may need
    try:
        progress = checkpoints.restore(progress) or progress
        progress = _loop(
            trainer,
            scorer,
            progress,
            HostFeed(trainer, prepared, step_key)
            if on_host
            else DeviceFeed(trainer, prepared),
            validation,
            key=step_key,
            shots=shots,
            steps=steps,
            at_once=at_once,
            checkpoints=checkpoints,
            metrics_path=folder / "metrics.jsonl",
            profile=profile,
            on_step=on_step,
            should_stop=should_stop,
        )
    finally:
        checkpoints.close()
    validated = validate(scorer, progress.best, validation)
    evidence = score_for_calibration(
        scorer,
        progress.best,
        preparation,
        data.normals,
        validation=validated.scores,
        labels=validation.labels > 0,
    )
    return Trained(
        variables=progress.best,
        scorer=scorer,
        validation=validated.figures,
        thresholds=of_training(
            evidence,
            shots=shots,
            image_score=score_config.image_score,
            pixel_f1_threshold=validated.pixel_threshold,
        ),
        step=int(progress.best_step),
        seconds=time.monotonic() - started,
        validation_images=validation.images,
    )


def _loop(
    trainer: Trainer,
    scorer: Scorer,
    progress: Progress,
    feed: Feed,
    validation: Validation,
    *,
    key: jax.Array,
    shots: int,
    steps: int,
    at_once: int,
    checkpoints: Checkpoints,
    metrics_path: Path,
    profile: Path | None,
    on_step: OnStep,
    should_stop: Callable[[], bool],
) -> Progress:
    """Scan by scan to the last step, or until patience ends."""
    config, mesh = trainer.config, trainer.mesh
    state, best, best_auroc, best_step = progress
    step = int(state.step)
    state, key = place(state, mesh), place(key, mesh)
    metrics = MetricsFile(metrics_path, step=step)
    last_saved = time.monotonic()
    # The first interval compiles: the next one is traced, if there is one.
    traced = min(step + config.log_every, steps - config.log_every)
    try:
        while step < steps:
            if _out_of_patience(config, step, int(best_step), shots):
                log.info("stopped early at step %d: best was %d", step, best_step)
                break
            epoch_before = config.epoch(step, shots)
            tracing = nullcontext()
            if profile and step == traced:
                tracing = jax.profiler.trace(str(profile))
            data = feed.at(step)
            with memory_errors(trainer, state, data, at_once=at_once), tracing:
                state, interval = trainer.run(state, data, key)
                feed.prepare(step + config.log_every)
                line = {n: float(value) for n, value in interval.figures.items()}
            require_finite(interval, step=step, has_checkpoint=checkpoints.has_any())
            step += config.log_every
            epoch = config.epoch(step, shots)
            if step == steps or _crossed(
                epoch_before, epoch, config.validate_every_epochs
            ):
                variables = local(trainer.scoring_variables(state), mesh)
                found = validate(scorer, variables, validation).figures
                line |= {
                    f"validation/{n}": v for n, v in found.items() if v is not None
                }
                auroc = found["pixel_auroc"]
                if auroc is not None and auroc > best_auroc:
                    best = jax.tree.map(jnp.copy, variables)
                    best_auroc, best_step = np.array(auroc), np.array(step)
            metrics.write({"step": step, "epoch": epoch, **line})
            on_step(step, steps, line)
            progress = Progress(state, best, best_auroc, best_step)
            if time.monotonic() - last_saved > SECONDS_BETWEEN_CHECKPOINTS:
                checkpoints.save(progress)
                last_saved = time.monotonic()
            if any_host(should_stop()):
                checkpoints.save(progress)
                raise KeyboardInterrupt
    finally:
        metrics.close()
    progress = Progress(state, best, best_auroc, best_step)
    checkpoints.save(progress)
    return progress


def _crossed(before: float, after: float, interval: int) -> bool:
    """Whether a multiple of `interval` lies in (before, after]."""
    return int(after // interval) > int(before // interval)


def _out_of_patience(config: TrainConfig, step: int, best: int, shots: int) -> bool:
    waited = config.epoch(step, shots) - config.epoch(best, shots)
    return bool(config.patience_epochs) and waited > config.patience_epochs
