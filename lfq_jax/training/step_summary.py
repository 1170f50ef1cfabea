"""Summary of several steps, and the check that all values are finite."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class StepSummary(NamedTuple):
    """Summary of several steps."""

    means: dict[str, Array]
    """Every metric's mean over the steps."""
    steps: int
    finite_steps: Array
    """Number of steps before the first in which any value was NaN or infinite."""
    first_bad: dict[str, Array]
    """The metrics of that first step. If all steps were finite: of the last step."""


def require_finite(summary: StepSummary, *, step: int, has_checkpoint: bool) -> None:
    """Refuse steps in which any value was NaN or infinite.

    Args:
      summary: the result of `Trainer.run`.
      step: the number of steps before them.
      has_checkpoint: whether there is a checkpoint to resume from.

    Raises:
      ValueError: with the first step that was not finite and the values concerned.
    """
    if summary.finite_steps == summary.steps:
        return
    metrics = {name: float(value) for name, value in summary.first_bad.items()}
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if metrics.get("quantizer/non_finite"):
        bad.insert(0, "z, which the encoder gives the quantizer")
    kept = (
        "the last good checkpoint is kept"
        if has_checkpoint
        else "no checkpoint had been written yet"
    )
    raise ValueError(
        f"training diverged at step {step + int(summary.finite_steps) + 1}: "
        f"{', '.join(bad)} is not finite; {kept}; lower the learning rates "
        "(train.reconstructive_learning_rate, train.discriminative_learning_rate) or "
        "set train.clip_norm"
    )


def summarize(metrics: dict[str, Float[Array, "n"]]) -> StepSummary:
    """Summary of n steps, from every metric's values."""
    finite = jnp.stack([jnp.isfinite(value) for value in metrics.values()]).all(0)
    if "quantizer/non_finite" in metrics:
        finite &= metrics["quantizer/non_finite"] == 0
    steps = len(finite)
    finite_steps = jnp.where(finite.all(), steps, jnp.argmin(finite))
    return StepSummary(
        means=jax.tree.map(jnp.mean, metrics),
        steps=steps,
        finite_steps=finite_steps,
        first_bad=jax.tree.map(
            lambda x: x[jnp.minimum(finite_steps, steps - 1)], metrics
        ),
    )


@jax.jit
def summarize_steps(history: list[dict[str, Array]]) -> StepSummary:
    """As `summarize`, from the metrics of each step."""
    return summarize(jax.tree.map(lambda *values: jnp.stack(values), *history))
