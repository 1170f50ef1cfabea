"""The training of one detector: prepare, restore, loop, calibrate."""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from datasets.files import make_folder
from lfq_jax.backbones import Backbone
from lfq_jax.calibration.calibrate import thresholds_after_training
from lfq_jax.config import ModelConfig, ScoreConfig, TrainConfig, as_json
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer
from lfq_jax.ops.copies import copied
from lfq_jax.training.checkpoint import Checkpoints, Progress
from lfq_jax.training.data import Photographs
from lfq_jax.training.data_feed import DeviceFeed, Feed, HostFeed
from lfq_jax.training.memory_budget import data_bytes, memory_errors, stays_on_host
from lfq_jax.training.metrics_log import MetricsFile
from lfq_jax.training.prepare import prepare
from lfq_jax.training.random_streams import random_streams
from lfq_jax.training.sharding import any_host, local, make_mesh, place
from lfq_jax.training.step import Trainer
from lfq_jax.training.step_summary import require_finite
from lfq_jax.training.trained import Trained
from lfq_jax.training.validation import Validation, score_for_calibration, validate

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 30.0
OnStep = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class DetectorConfig:
    """Everything that decides what a training results in, besides its photographs."""

    model: ModelConfig
    train: TrainConfig
    score: ScoreConfig
    is_texture: bool
    """Whether mirrored and turned parts are good parts."""
    seed: int
    """All randomness of the run comes from it."""
    parts: int | None = None
    """How many different parts the shots show, for the thresholds' statements. None: as
    many as there are shots."""


@dataclass(frozen=True)
class Machine:
    """How a training uses the machine. The result is the same on any number of hosts
    and with any number of trainings side by side."""

    devices: int = 1
    """How many devices of every host share a batch; 0 for all. Where `jax.distributed`
    runs, every host calls `train` in the same way, with a folder of its own. The first
    host keeps the checkpoints."""
    at_once: int = 1
    """How many trainings share the device, each in a thread of its own."""
    profile: Path | None = None
    """Folder for a trace of the second interval of steps, or of the last one where
    there is no second, for jax's profiler."""


class Hooks(NamedTuple):
    """What a training calls between two intervals of steps."""

    on_step: OnStep = lambda *_: None
    """Called with (step, steps, latest metrics)."""
    should_stop: Callable[[], bool] = lambda: False
    """On True the state is saved and `KeyboardInterrupt` is raised."""


ONE_DEVICE = Machine()
NO_HOOKS = Hooks()


def train(
    data: Photographs,
    held_out: Photographs,
    config: DetectorConfig,
    *,
    folder: Path,
    backbone: Backbone | None = None,
    inputs: dict[str, Any] | None = None,
    machine: Machine = ONE_DEVICE,
    hooks: Hooks = NO_HOOKS,
) -> Trained:
    """Train one detector, or resume the training that `folder` holds.

    The function is long because it is the training, from top to bottom.

    Args:
      data: what the detector learns from.
      held_out: anomalies of other seeds, for validation.
      folder: gets metrics.jsonl and checkpoints/.
      backbone: the pretrained network of `config.model.memory_bank.backbone`.
      inputs: what `data` and `held_out` were made from, as JSON. A checkpoint of other
        inputs is refused.

    Raises:
      ValueError: where `folder` holds a checkpoint of another config or other inputs,
        the loss is no longer finite, memory does not suffice, or the devices cannot
        share a batch.
      KeyboardInterrupt: where `hooks.should_stop` asked for it; the state was saved.
    """
    started = time.monotonic()
    shots = len(data.normals)
    model = Model(config.model, is_texture=config.is_texture)
    trainer = Trainer(
        model,
        config.train,
        steps=config.train.steps(shots),
        mesh=make_mesh(machine.devices, batch_size=config.train.batch_size),
    )
    scorer = Scorer(model, config.score)
    streams = random_streams(config.seed)
    size = data_bytes(model, config.train, anomalies=len(data.images), shots=shots)
    on_host = stays_on_host(config.train, size, at_once=machine.at_once)
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.default_device(cpu) if on_host else nullcontext():
        prepared = prepare(
            data,
            held_out,
            model=model,
            config=config.train,
            streams=streams,
            backbone=backbone,
        )
    prepared_at = time.monotonic()
    feed = (
        HostFeed(trainer, prepared.training, streams.steps)
        if on_host
        else DeviceFeed(trainer, prepared.training)
    )
    validation, others = prepared.validation, prepared.others
    state = trainer.init(
        streams.weights, prepared.bank, prepared.head, prepared.score_head
    )
    del prepared  # its training data, of which the feed has its own copy
    # A copy: the step donates its state's buffers.
    untrained = copied(state.variables)
    progress = Progress(state, untrained, np.array(-1.0), np.array(0))
    make_folder(folder)
    checkpoints = Checkpoints(
        folder / "checkpoints",
        _checkpoint_config(config, shots=shots, inputs=inputs),
        at_once=machine.at_once,
    )
    try:
        progress = checkpoints.restore(progress) or progress
        loop = _Loop(trainer, scorer, feed, validation, checkpoints, shots, machine)
        progress = loop.run(progress, streams.steps, folder / "metrics.jsonl", hooks)
    finally:
        checkpoints.close()
    stepped_at = time.monotonic()
    validated = validate(scorer, progress.best, validation)
    scores = score_for_calibration(
        scorer,
        progress.best,
        data.normals,
        (validation, validated),
        others=others,
        augment=config.train.augment,
        key=streams.calibration().validation_anomalies,
    )
    thresholds = thresholds_after_training(
        scores,
        shots=config.parts or shots,
        image_score=config.score.image_score,
        pixel_f1_threshold=validated.pixel_threshold,
        expects_new_parts=(
            progress.best.logistic_head is not None
            and others is not None
            and others.has_others
        ),
    )
    return Trained(
        variables=progress.best,
        scorer=scorer,
        validation=validated.metrics,
        thresholds=thresholds,
        step=int(progress.best_step),
        seconds={
            "prepare": prepared_at - started,
            "steps": stepped_at - prepared_at,
            "calibrate": time.monotonic() - stepped_at,
        },
        validation_images=validation.images,
    )


def _checkpoint_config(
    config: DetectorConfig, *, shots: int, inputs: dict[str, Any] | None
) -> dict[str, Any]:
    """Settings and inputs that must equal the checkpoint's to be resumed."""
    return {
        "model": as_json(config.model),
        "train": as_json(config.train),
        "seed": config.seed,
        "shots": shots,
        "inputs": inputs,
    }


class _Loop(NamedTuple):
    """The loop over intervals of steps: step, log, validate, save."""

    trainer: Trainer
    scorer: Scorer
    feed: Feed
    validation: Validation
    checkpoints: Checkpoints
    shots: int
    machine: Machine

    def run(
        self, progress: Progress, key: jax.Array, metrics_path: Path, hooks: Hooks
    ) -> Progress:
        """Train interval by interval to the last step, or until patience ends."""
        config, steps = self.trainer.config, self.trainer.steps
        step = int(progress.state.step)
        progress = progress._replace(state=place(progress.state, self.trainer.mesh))
        key = place(key, self.trainer.mesh)
        metrics = MetricsFile(metrics_path, step=step)
        last_saved = time.monotonic()
        # The first interval compiles: the next one is traced, if there is one.
        traced_step = min(step + config.log_every, steps - config.log_every)
        try:
            while step < steps:
                if self._is_out_of_patience(step, int(progress.best_step)):
                    best = progress.best_step
                    log.info("stopped early at step %d: best was %d", step, best)
                    break
                is_traced = self.machine.profile is not None and step == traced_step
                state, line = self._interval(
                    progress.state, key, step, is_traced=is_traced
                )
                progress = progress._replace(state=state)
                before, step = step, step + config.log_every
                if step == steps or self._validates(before, step):
                    progress, validated = self._validate(progress, step)
                    line |= validated
                epoch = config.epoch(step, self.shots)
                metrics.write({"step": step, "epoch": epoch, **line})
                hooks.on_step(step, steps, line)
                if time.monotonic() - last_saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self.checkpoints.save(progress)
                    last_saved = time.monotonic()
                if any_host(hooks.should_stop()):
                    self.checkpoints.save(progress)
                    raise KeyboardInterrupt
        finally:
            metrics.close()
        self.checkpoints.save(progress)
        return progress

    def _interval(
        self, state: Any, key: jax.Array, step: int, *, is_traced: bool
    ) -> tuple[Any, dict[str, float]]:
        """`log_every` steps from `step` on: the new state, and the mean metrics."""
        tracing = nullcontext()
        if is_traced:
            tracing = jax.profiler.trace(str(self.machine.profile))
        records = self.feed.records(step)
        errors = memory_errors(
            self.trainer, state, records, at_once=self.machine.at_once
        )
        with errors, tracing:
            state, summary = self.trainer.run(state, records, key)
            self.feed.prepare(step + self.trainer.config.log_every)
            line = {name: float(value) for name, value in summary.means.items()}
        has_checkpoint = self.checkpoints.has_any()
        require_finite(summary, step=step, has_checkpoint=has_checkpoint)
        return state, line

    def _validate(
        self, progress: Progress, step: int
    ) -> tuple[Progress, dict[str, float]]:
        """Measure the current weights, and keep them where they are the best so far."""
        scoring = self.trainer.scoring_variables(progress.state)
        variables = local(scoring, self.trainer.mesh)
        metrics = validate(self.scorer, variables, self.validation).metrics
        auroc = metrics["pixel_auroc"]
        if auroc is not None and auroc > progress.best_auroc:
            best = copied(variables)
            progress = Progress(progress.state, best, np.array(auroc), np.array(step))
        return progress, {
            f"validation/{name}": value
            for name, value in metrics.items()
            if value is not None
        }

    def _validates(self, before: int, step: int) -> bool:
        """Whether a multiple of `validate_every_epochs` is in (before, step]."""
        config = self.trainer.config
        every = config.validate_every_epochs
        epochs = (config.epoch(before, self.shots), config.epoch(step, self.shots))
        return int(epochs[1] // every) > int(epochs[0] // every)

    def _is_out_of_patience(self, step: int, best: int) -> bool:
        config = self.trainer.config
        waited = config.epoch(step, self.shots) - config.epoch(best, self.shots)
        return bool(config.patience_epochs) and waited > config.patience_epochs
