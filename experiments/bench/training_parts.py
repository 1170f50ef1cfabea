"""Measurements of the training step: Python's share, memory, time by operation."""

import collections
import dataclasses
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from experiments.bench.training_setup import (
    Dtype,
    PresetName,
    Setup,
    make_setup,
    wait_for,
)
from lfq_jax.config import TrainConfig
from lfq_jax.model.variables import parameter_count
from lfq_jax.training.data import TrainingData
from lfq_jax.training.sharding import make_mesh, place
from lfq_jax.training.state import TrainState
from lfq_jax.training.step import Trainer

# Kinds of operations, by a pattern of their name. The first match counts.
_KINDS = (
    ("convolutions", r"conv_general_dilated"),
    ("upsampling", r"\bupsample\b"),
    ("SSIM", r"\bssim\b"),
    ("LFQ", r"\bquantizer\b"),
    ("augmentation", r"\baugmentation\b"),
    ("norms", r"\bnorm\b"),
    ("other losses", r"\blosses\b"),
    ("optimizer", r"\boptimizer\b"),
)
_SHARED_STEPS = 20
_KEY = jax.random.key(1)


def jax_stepper(setup: Setup, *, devices: int = 1) -> Callable[[], None]:
    """A function that performs our step as a run does, and returns when it is done."""
    # A logging interval of one step, so that every way performs one step per call.
    config = dataclasses.replace(setup.trainer.config, log_every=1)
    trainer, state, data, key = _to_devices(wait_for(setup), config, devices)

    def step() -> None:
        nonlocal state
        state, metrics = trainer.run(state, data, key)
        jax.block_until_ready((state, metrics))

    return step


def _to_devices(
    setup: Setup, config: TrainConfig, devices: int
) -> tuple[Trainer, TrainState, TrainingData, Array]:
    """A trainer whose batches are shared by this many devices, with its inputs there.

    The inputs are an initial state, the data and a random key.

    Args:
      devices: 0: all of them.
    """
    trainer, data = setup
    mesh = make_mesh(devices, batch_size=config.batch_size)
    shared_trainer = Trainer(
        trainer.model,
        config,
        steps=trainer.steps,
        mesh=mesh,
    )
    return shared_trainer, *place(
        (shared_trainer.init(jax.random.key(0)), data, _KEY), mesh
    )


def measure_overhead(setup: Setup, rounds: int) -> dict[str, float]:
    """Time of a logging interval divided by that of as many bare compiled steps."""
    trainer, data = wait_for(setup)
    state = trainer.init(jax.random.key(0))
    lowered = jax.jit(trainer.step, donate_argnums=0).lower(state, data, _KEY)
    bare, steps = lowered.compile(), trainer.config.log_every
    ratios, seconds = [], []
    for turn in range(rounds + 1):
        started = time.perf_counter()
        for _ in range(steps):
            state, _ = bare(state, data, _KEY)
        jax.block_until_ready(state)
        middle = time.perf_counter()
        state, metrics = trainer.run(state, data, _KEY)
        jax.block_until_ready((state, metrics))
        ended = time.perf_counter()
        if turn:
            ratios.append((ended - middle) / (middle - started))
            seconds.append(middle - started)
    return {
        "loop_over_bare": round(float(np.median(ratios)), 3),
        "bare_step_ms": round(1e3 * float(np.median(seconds)) / steps, 2),
        "steps": steps,
    }


def losses_on_all_devices(setup: Setup) -> list[float]:
    """Losses of the first steps, with batches shared by all devices."""
    trainer, state, data, key = _to_devices(setup, setup.trainer.config, devices=0)
    step, losses = jax.jit(trainer.step, donate_argnums=0), []
    for _ in range(_SHARED_STEPS):
        state, metrics = step(state, data, key)
        losses.append(float(metrics["loss"]))
    return losses


def measure_memory(dtype: Dtype) -> list[dict[str, Any]]:
    """The compiler's plan for one step of every preset. Allocates nothing."""
    rows = []
    presets: tuple[PresetName, ...] = ("cpu", "paper")
    for name, batch_size in zip(presets, (0, 1), strict=True):
        setup = make_setup(name, batch_size=batch_size, dtype=dtype, anomalous=8)
        trainer = setup.trainer
        state = jax.eval_shape(trainer.init, jax.random.key(0))
        step = jax.jit(trainer.step, donate_argnums=0)
        compiled = step.lower(state, setup.data, _KEY).compile()
        plan = compiled.memory_analysis()
        assert plan is not None
        new = plan.output_size_in_bytes - plan.alias_size_in_bytes
        peak = plan.argument_size_in_bytes + plan.temp_size_in_bytes + new
        weights = 4 * parameter_count(state.variables.params)
        data = sum(leaf.nbytes for leaf in jax.tree.leaves(setup.data))
        rows.append(
            {
                "preset": name,
                "batch": trainer.config.batch_size,
                "parameters_mib": round(weights / 2**20, 1),
                "state_mib": round((plan.argument_size_in_bytes - data) / 2**20, 1),
                "temporary_mib": round(plan.temp_size_in_bytes / 2**20, 1),
                "peak_mib": round((peak - data) / 2**20, 1),
                "peak_to_parameters": round((peak - data) / weights, 1),
            }
        )
    return rows


def time_by_operation(setup: Setup, steps: int) -> list[dict[str, Any]]:
    """Processor time and share of one step, by kind of operation.

    jax's profiler gives the time of every operation. The operation's named scope gives
    its kind.
    """
    trainer, data = wait_for(setup)
    state = trainer.init(jax.random.key(0))
    step = jax.jit(trainer.step, donate_argnums=0)
    compiled = step.lower(state, data, _KEY).compile()
    kinds = _operation_kinds(compiled.as_text() or "")
    state, metrics = compiled(state, data, _KEY)
    jax.block_until_ready((state, metrics))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            started = time.perf_counter()
            for _ in range(steps):
                state, metrics = compiled(state, data, _KEY)
                jax.block_until_ready((state, metrics))
            seconds = (time.perf_counter() - started) / steps
        spent = _time_spent(Path(folder), kinds)
    total = sum(spent.values())
    rows = [
        {
            "what": name,
            "ms_a_step": round(1e-6 * nanoseconds / steps, 2),
            "share": f"{100 * nanoseconds / total:.0f}%",
        }
        for name, nanoseconds in spent.most_common()
    ]
    rows.append(
        {"what": "wall clock", "ms_a_step": round(1e3 * seconds, 2), "share": "-"}
    )
    return rows


def _time_spent(folder: Path, kinds: dict[str, str]) -> collections.Counter[str]:
    """Nanoseconds of all operations in a trace, by kind."""
    traces = sorted(folder.rglob("*.xplane.pb"))
    spent: collections.Counter[str] = collections.Counter()
    for plane in jax.profiler.ProfileData.from_file(str(traces[-1])).planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                name = str(stats.get("hlo_op", event.name))
                if name in kinds:
                    spent[kinds[name]] += event.duration_ns
    return spent


def _operation_kinds(hlo: str) -> dict[str, str]:
    """The kind of every instruction of a compiled module.

    Loops are ignored: their instructions are listed separately.
    """
    computation, names_in = "", collections.defaultdict(list)
    op_names: dict[str, str] = {}
    called: dict[str, str] = {}
    for line in hlo.splitlines():
        header = re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            computation = header.group(1)
            continue
        instruction = re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = ", line)
        if not instruction or re.search(r" (while|call|conditional)\(", line):
            continue
        name = instruction.group(1)
        op = re.search(r'op_name="([^"]*)"', line)
        op_names[name] = op.group(1) if op else ""
        names_in[computation].append(op_names[name])
        calls = re.search(r"calls=%?([\w.\-]+)", line)
        if calls:
            called[name] = calls.group(1)
    # A fusion is named after its last operation. Without a name, the names of all its
    # operations are used.
    for name, inner in called.items():
        if not op_names[name]:
            op_names[name] = " ".join(["", *names_in[inner]])
    return {name: _kind(op_name) for name, op_name in op_names.items()}


def _kind(op_name: str) -> str:
    """The kind of an operation with this name."""
    for kind, pattern in _KINDS:
        if re.search(pattern, op_name):
            return kind
    return "everything else"
