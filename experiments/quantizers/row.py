"""One row of the comparison: train a detector with one quantizer and measure it."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from datasets.example import Example
from datasets.progress import Bar
from experiments.measure.ground_truths import GroundTruth, compared, photographs
from experiments.measure.reconstruction import (
    fidelity,
    shortcut,
    survival,
    training_images,
)
from experiments.report.code_report import draw_codes
from lfq_jax.inference.appearance import appearance
from lfq_jax.inference.detector_files import DetectorRecord
from lfq_jax.inference.predictor import Predictor
from lfq_jax.metrics.evaluation import evaluate
from lfq_jax.model.lfquiad import Model
from lfq_jax.quantizers import Quantizer, name_of
from lfq_jax.training.data import Photographs
from lfq_jax.training.loop import DetectorConfig, Hooks, Trained, train

REPETITIONS = 10
"""Timed passes of the quantizer alone. The fastest one is reported."""


def train_and_measure(
    data: Photographs,
    held_out: Photographs,
    test: Sequence[Example],
    *,
    variant: str,
    config: DetectorConfig,
    folder: Path,
    inputs: dict[str, Any],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """The row of one variant: train or resume in `folder`, then measure on `test`.

    Writes metrics.jsonl, checkpoints/ and the pictures of codes into `folder`.

    Args:
      inputs: what `data` and `held_out` were made from.

    Raises:
      KeyboardInterrupt: after `should_stop`. The training can be resumed.
    """
    started = time.monotonic()
    progress = _TimedProgress(folder.name)
    with progress.bar:
        trained = train(
            data,
            held_out,
            config,
            folder=folder,
            inputs=inputs,
            hooks=Hooks(progress, should_stop),
        )
    predictor = _predictor(trained, config, data, name=variant)
    row = _measure(predictor, held_out, test, folder=folder, title=variant)
    cost = _cost(predictor.networks, config.train.batch_size)
    return {
        "variant": variant,
        "quantizer": name_of(config.model.quantizer),
        "positions": math.prod(config.model.bottleneck),
        "steps": trained.step,
        "validation": trained.validation,
        **row,
        "cost": {"step_ms": progress.step_ms, **cost},
        "seconds": round(time.monotonic() - started, 1),
    }


def _predictor(
    trained: Trained, config: DetectorConfig, data: Photographs, *, name: str
) -> Predictor:
    """The trained networks, ready to score and to reconstruct."""
    record = DetectorRecord(
        category=name,
        kind="texture" if config.is_texture else "object",
        shots=len(data.normals),
        seed=config.seed,
        photograph_px=config.model.size,
        bit_depth=8,
        model=config.model,
        score=config.score,
        appearance=appearance(data.normals),
        variables=trained.variables,
    )
    return Predictor(record)


def _measure(
    predictor: Predictor,
    held_out: Photographs,
    test: Sequence[Example],
    *,
    folder: Path,
    title: str,
) -> dict[str, Any]:
    """Reconstruction, detection and use of codes. Draws the codes into `folder`."""
    quantizer = predictor.networks.quantizer
    images, masks = training_images(test, predictor.framing)
    reconstructed = predictor.reconstruct(images)
    truths, metrics = _detection(predictor, test)
    labels = np.array([truth.label for truth in truths])
    usage = draw_codes(folder, quantizer, reconstructed, masks, truths, title=title)
    identity_shortcut = shortcut(reconstructed, masks)
    identity_shortcut["survival"] = survival(predictor, held_out)
    return {
        "code_count": quantizer.code_count,
        "reconstruction": fidelity(reconstructed, labels),
        "shortcut": identity_shortcut,
        "metrics": metrics,
        "codes": usage.figures if usage else {},
    }


class _TimedProgress:
    """A progress bar that also stores the time per step of the fastest interval."""

    def __init__(self, name: str) -> None:
        self.bar = Bar(desc=f"{name}: training", unit="step")
        self.step_ms: float | None = None
        self._previous: tuple[int, float] | None = None

    def __call__(self, step: int, steps: int, figures: dict[str, float]) -> None:
        now = time.perf_counter()
        is_validated = any(name.startswith("validation") for name in figures)
        if self._previous and not is_validated:  # validation takes time as well
            done = step - self._previous[0]
            step_ms = round(1e3 * (now - self._previous[1]) / done, 2)
            self.step_ms = min(step_ms, self.step_ms or step_ms)
        self._previous = (step, now)
        self.bar.total = steps
        self.bar.set_postfix(loss=f"{figures['loss']:.3f}", refresh=False)
        self.bar.update(step - self.bar.n)


def _detection(
    predictor: Predictor, test: Sequence[Example]
) -> tuple[list[GroundTruth], dict[str, float | None]]:
    """Ground truths of the test images; AUROCs, AP and PRO at the masks' resolution."""
    truths: list[GroundTruth] = []
    images = photographs(test, truths, predictor.framing)
    predictions = list(predictor.predict(images, pads=True))
    image_score = predictor.record.score.image_score
    scores = np.array([p.scores[image_score] for p in predictions])
    labels = np.array([truth.label for truth in truths])
    evaluation = evaluate(scores, labels, *compared(truths, predictions))
    return truths, {
        "image_auroc": evaluation.image_auroc,
        "pixel_auroc": evaluation.pixel_auroc,
        "pixel_ap": evaluation.pixel_ap,
        "pro": evaluation.pro,
    }


def _cost(model: Model, batch_size: int) -> dict[str, float]:
    """Time and memory of the model's quantizer, for one training batch."""
    return _quantizer_cost(model.quantizer, (batch_size, *model.config.bottleneck))


@functools.cache
def _quantizer_cost(quantizer: Quantizer, batch: tuple[int, ...]) -> dict[str, float]:
    """Time and memory of the quantizer alone, forward and backward, in training.

    Memory is that of the weights, of the state, and of the temporary arrays that XLA
    reports.
    """
    key = jax.random.key(0)
    z = jax.random.normal(key, (*batch, quantizer.dim))
    params, state = jax.jit(quantizer.init)(key)

    def loss(params: Any, z: jax.Array, state: Any) -> Any:
        result = quantizer.quantize(params, state, z, training=True, key=key, step=0)
        return result.loss + jnp.sum(result.z_q**2), (result.state, result.statistics)

    forward_backward = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    compiled = forward_backward.lower(params, z, state).compile()
    seconds = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        jax.block_until_ready(compiled(params, z, state))
        seconds.append(time.perf_counter() - started)
    stored = sum(leaf.nbytes for leaf in jax.tree.leaves((params, state)))
    analysis: Any = compiled.memory_analysis()
    temporary = analysis.temp_size_in_bytes
    return {
        "quantizer_ms": round(1e3 * min(seconds), 3),
        "quantizer_mib": round((stored + temporary) / 2**20, 3),
    }
