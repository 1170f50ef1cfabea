"""One row of the comparison: train a detector with one quantizer, and measure it."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from datasets.example import Example
from experiments.code_report import draw_codes
from experiments.reconstruction import (
    fidelity,
    reconstruct,
    shortcut,
    squares,
    survival,
)
from experiments.truths import Truth, compared, photographs
from lfq_jax.config import ModelConfig, ScoreConfig, TrainConfig
from lfq_jax.inference.predictor import predict
from lfq_jax.metrics.evaluation import evaluate
from lfq_jax.model.lfquiad import Model
from lfq_jax.quantizers import Quantizer, name_of
from lfq_jax.training.data import Photographs
from lfq_jax.training.loop import Trained, train

REPETITIONS = 10
"""Of the quantizer alone, of which the fastest counts."""


def quantizer_row(
    data: Photographs,
    held_out: Photographs,
    test: Sequence[Example],
    *,
    variant: str,
    model_config: ModelConfig,
    train_config: TrainConfig,
    score_config: ScoreConfig,
    is_texture: bool,
    seed: int,
    folder: Path,
    inputs: dict[str, Any],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Train in `folder`, or go on there, and measure on `test`.

    Writes metrics.jsonl, checkpoints/ and the pictures of codes into `folder`.

    Args:
      inputs: what `data` and `held_out` were made from.

    Raises:
      KeyboardInterrupt: after `should_stop`; what was trained is kept.
    """
    started = time.monotonic()
    pace = _Pace(folder.name)
    with pace.bar:
        trained = train(
            data,
            held_out,
            model_config=model_config,
            train_config=train_config,
            score_config=score_config,
            is_texture=is_texture,
            seed=seed,
            folder=folder,
            inputs=inputs,
            on_step=pace,
            should_stop=should_stop,
        )
    model = trained.scorer.model
    images, masks = squares(test, model_config.image_px)
    found = reconstruct(model, trained.variables, images)
    truths, metrics = _detection(trained, test, score_config)
    labels = np.array([truth.label for truth in truths])
    use = draw_codes(folder, model.quantizer, found, masks, truths, title=variant)
    cost = _cost(model, train_config.batch_size)
    of_shortcut = shortcut(found, masks)
    of_shortcut["survival"] = survival(model, trained.variables, held_out)
    return {
        "variant": variant,
        "quantizer": name_of(model_config.quantizer),
        "code_count": model.quantizer.code_count,
        "positions": model_config.bottleneck_px**2,
        "steps": trained.step,
        "reconstruction": fidelity(found, labels),
        "shortcut": of_shortcut,
        "metrics": metrics,
        "codes": use.figures if use else {},
        "cost": {"step_ms": pace.step_ms, **cost},
        "validation": trained.validation,
        "seconds": round(time.monotonic() - started, 1),
    }


class _Pace:
    """A progress bar that also keeps the time of the fastest interval."""

    def __init__(self, name: str) -> None:
        self.bar = tqdm(desc=f"{name}: training", unit="step", leave=False)
        self.step_ms: float | None = None
        self._last: tuple[int, float] | None = None

    def __call__(self, step: int, steps: int, figures: dict[str, float]) -> None:
        now = time.perf_counter()
        if self._last and not any(name.startswith("validation") for name in figures):
            done = step - self._last[0]
            each = round(1e3 * (now - self._last[1]) / done, 2)
            self.step_ms = min(each, self.step_ms or each)
        self._last = (step, now)
        self.bar.total = steps
        self.bar.set_postfix(loss=f"{figures['loss']:.3f}", refresh=False)
        self.bar.update(step - self.bar.n)


def _detection(
    trained: Trained, test: Sequence[Example], score_config: ScoreConfig
) -> tuple[list[Truth], dict[str, float | None]]:
    """The test images' truth; AUROCs and PRO at the masks' own resolution."""
    truths: list[Truth] = []
    predictions = list(
        predict(
            trained.scorer,
            trained.variables,
            photographs(test, truths),
            batch_size=score_config.batch_size,
        )
    )
    scores = np.array([p.scores[score_config.image_score] for p in predictions])
    labels = np.array([truth.label for truth in truths])
    found = evaluate(scores, labels, *compared(truths, predictions))
    return truths, {
        "image_auroc": found.image_auroc,
        "pixel_auroc": found.pixel_auroc,
        "pixel_ap": found.pixel_ap,
        "pro": found.pro,
    }


def _cost(model: Model, batch_size: int) -> dict[str, float]:
    side = model.config.bottleneck_px
    return _quantizer_cost(model.quantizer, (batch_size, side, side))


@functools.cache
def _quantizer_cost(quantizer: Quantizer, batch: tuple[int, ...]) -> dict[str, float]:
    """Time and memory of forward and backward of the quantizer alone, in training.

    Memory is XLA's figure for temporary arrays, and the weights and the state.
    """
    key = jax.random.key(0)
    z = jax.random.normal(key, (*batch, quantizer.dim))
    params, state = jax.jit(quantizer.init)(key)

    def loss(params: Any, z: jax.Array, state: Any) -> Any:
        found = quantizer.quantize(params, state, z, training=True, key=key, step=0)
        return found.loss + jnp.sum(found.z_q**2), (found.state, found.statistics)

    both = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    compiled = both.lower(params, z, state).compile()
    seconds = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        jax.block_until_ready(compiled(params, z, state))
        seconds.append(time.perf_counter() - started)
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves((params, state)))
    analysis: Any = compiled.memory_analysis()
    temporary = analysis.temp_size_in_bytes
    return {
        "quantizer_ms": round(1e3 * min(seconds), 3),
        "quantizer_mib": round((kept + temporary) / 2**20, 3),
    }
