"""The optimizer of the paper's section 4.3, and related options of the step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lfq_jax.config import ModelConfig, TrainConfig
from lfq_jax.model.lfquiad import Model
from lfq_jax.quantizers.config import LFQConfig
from lfq_jax.training.optimizer import make_optimizer, schedule
from lfq_jax.training.state import TrainState
from lfq_jax.training.step import Trainer
from tests.lfq_jax.training.tiny_training import photographs, unmeasured_data

PAPER = TrainConfig()
RATES = {"reconstructive": 3e-4, "quantizer": 3e-4, "discriminative": 1e-4}


def _weights(value: float) -> dict[str, Any]:
    """A kernel and two other kinds of weights, in every part of the model."""
    shapes = {"kernel": (3, 3, 2, 4), "codebook": (8, 4), "bias": (4,)}
    part = {name: jnp.full(shape, value) for name, shape in shapes.items()}
    return dict.fromkeys(RATES, part)


def _updates(config: TrainConfig, *gradients: Any, weight: float = 1.0) -> Any:
    """The updates of the last of several steps."""
    optimizer, params = make_optimizer(config, steps=1000), _weights(weight)
    state = optimizer.init(params)
    updates = params
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
    return updates


def test_both_rates_fall_to_a_tenth_at_80_and_90_percent_of_the_steps():
    steps = [0, 799, 800, 899, 900, 999]
    for rate in (3e-4, 1e-4):
        at: Any = schedule(rate, steps=1000, config=PAPER)
        expected = rate * np.array([1, 1, 0.1, 0.1, 0.01, 0.01])
        np.testing.assert_allclose([at(step) for step in steps], expected, rtol=1e-5)


def test_a_warmup_rises_to_the_rate_in_equal_steps():
    at: Any = schedule(1.0, steps=1000, config=dataclasses.replace(PAPER, warmup=0.1))
    found = [float(at(jnp.asarray(step))) for step in (0, 49, 99, 100, 800)]
    np.testing.assert_allclose(found, [0.01, 0.5, 1, 1, 0.1], rtol=1e-5)


@pytest.mark.parametrize("part", RATES)
def test_every_part_has_its_own_learning_rate(part: str):
    without_decay = dataclasses.replace(PAPER, weight_decay=0.0)
    updates = _updates(without_decay, _weights(0.5))[part]
    # AdamW's first step has the size of the rate, opposite to the gradient's sign.
    for update in updates.values():
        np.testing.assert_allclose(update, -RATES[part], rtol=1e-5)


@pytest.mark.parametrize("part", RATES)
def test_only_kernels_have_weight_decay(part: str):
    updates = _updates(PAPER, _weights(0.0), weight=2.0)[part]
    np.testing.assert_allclose(updates["kernel"], -RATES[part] * 1e-4 * 2, rtol=1e-5)
    assert not updates["codebook"].any()
    assert not updates["bias"].any()


def test_a_gradient_is_clipped_by_its_norm_over_all_parts():
    clipping = dataclasses.replace(PAPER, clip_norm=1.0)
    large, small = _weights(5.0), _weights(1e-3)
    norm = float(optax.tree.norm(large))
    within = jax.tree.map(lambda g: g / norm, large)
    found = _updates(clipping, large, small)
    by_hand = _updates(PAPER, within, small)
    unclipped = _updates(PAPER, large, small)
    for a, b, c in zip(*map(jax.tree.leaves, (found, by_hand, unclipped)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)
        assert not np.allclose(a, c, rtol=1e-2)


def _step(*, remat: bool) -> tuple[Trainer, TrainState, TrainState, dict[str, Any]]:
    """A trainer, its state before and after a step, and the step's metrics."""
    tiny = ModelConfig(
        image_px=32,
        stem=8,
        reconstructive_widths=(4, 4),
        discriminative_widths=(4, 4),
        quantizer=LFQConfig(bits=4),
        kernels="he",
        remat=remat,
    )
    config = dataclasses.replace(PAPER, batch_size=2, ema_decay=0.9)
    data = unmeasured_data(photographs(4), stride=tiny.stem)
    trainer = Trainer(Model(tiny), config, steps=10)
    state = trainer.init(jax.random.key(0))
    program = jax.jit(trainer.step).trace(state, data, jax.random.key(1))
    primitives = {each.primitive.name for each in program.jaxpr.jaxpr.eqns}
    assert any("remat" in name for name in primitives) == remat
    after, metrics = program.lower().compile()(state, data, jax.random.key(1))
    return trainer, state, after, metrics


def test_a_step_averages_the_weights():
    trainer, before, after, _ = _step(remat=False)
    averaged = jax.tree.map(
        lambda old, new: 0.9 * old + 0.1 * new,
        before.variables.params,
        after.variables.params,
    )
    scoring = trainer.scoring_variables(after).params
    for a, b in zip(*map(jax.tree.leaves, (scoring, averaged)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_step_is_equal_with_remat():
    # The weights are not compared: where a gradient is near 0, AdamW turns its rounding
    # into a whole step.
    compared = []
    for remat in (False, True):
        _, _, after, metrics = _step(remat=remat)
        compared.append((after.optimizer, after.variables.statistics, metrics))
    for a, b in zip(*map(jax.tree.leaves, compared), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
