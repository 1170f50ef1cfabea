"""Single figures of the training step: Python's share, memory, where the time goes."""

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

from experiments.bench.training_setup import Dtype, PresetName, Setup, ready, setup
from lfq_jax.config import TrainConfig
from lfq_jax.model.variables import parameter_count
from lfq_jax.training.data import TrainingData
from lfq_jax.training.sharding import make_mesh, place
from lfq_jax.training.state import TrainState
from lfq_jax.training.step import Trainer

# Where an operation's name says it belongs; the first that fits counts.
_SCOPES = (
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


def jax_stepper(made: Setup, *, devices: int = 1) -> Callable[[], None]:
    """Our step, as a run dispatches it, waited for."""
    # one step in a scan where the steps are scanned, so that all ways do alike
    one = dataclasses.replace(made.trainer.config, log_every=1)
    stepping, state, data, key = _placed(ready(made), one, devices)

    def step() -> None:
        nonlocal state
        state, metrics = stepping.run(state, data, key)
        jax.block_until_ready((state, metrics))

    return step


def _placed(
    made: Setup, config: TrainConfig, devices: int
) -> tuple[Trainer, TrainState, TrainingData, Array]:
    """A trainer whose batch this many devices share (0: all), a fresh state, the data
    and a key, where they compute."""
    trainer, data = made
    mesh = make_mesh(devices, batch_size=config.batch_size)
    sharing = Trainer(
        trainer.model,
        config,
        steps=trainer.steps,
        is_texture=trainer.is_texture,
        mesh=mesh,
    )
    return sharing, *place((sharing.init(jax.random.key(0)), data, _KEY), mesh)


def overhead(made: Setup, rounds: int) -> dict[str, float]:
    """A logging interval as training runs it, over as many bare compiled steps."""
    trainer, data = ready(made)
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


def losses_shared(made: Setup) -> list[float]:
    """The losses of some steps on as many devices as there are."""
    sharing, state, data, key = _placed(made, made.trainer.config, devices=0)
    step, found = jax.jit(sharing.step, donate_argnums=0), []
    for _ in range(_SHARED_STEPS):
        state, metrics = step(state, data, key)
        found.append(float(metrics["loss"]))
    return found


def memory(dtype: Dtype) -> list[dict[str, Any]]:
    """What the compiler plans for one step of every preset; nothing is allocated."""
    rows = []
    presets: tuple[PresetName, ...] = ("cpu", "paper")
    for name, batch_size in zip(presets, (0, 1), strict=True):
        made = setup(name, batch_size=batch_size, dtype=dtype, anomalous=8)
        trainer = made.trainer
        state = jax.eval_shape(trainer.init, jax.random.key(0))
        step = jax.jit(trainer.step, donate_argnums=0)
        compiled = step.lower(state, made.data, _KEY).compile()
        plan = compiled.memory_analysis()
        assert plan is not None
        new = plan.output_size_in_bytes - plan.alias_size_in_bytes
        peak = plan.argument_size_in_bytes + plan.temp_size_in_bytes + new
        weights = 4 * parameter_count(state.variables.params)
        data = sum(leaf.nbytes for leaf in jax.tree.leaves(made.data))
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


def where(made: Setup, steps: int) -> list[dict[str, Any]]:
    """Shares of the processors' time in one step, by what it was spent on.

    From jax's profiler: the time of every operation, by the named scope it came from.
    """
    trainer, data = ready(made)
    state = trainer.init(jax.random.key(0))
    step = jax.jit(trainer.step, donate_argnums=0)
    compiled = step.lower(state, data, _KEY).compile()
    scopes = _scopes_of(compiled.as_text() or "")
    state, metrics = compiled(state, data, _KEY)
    jax.block_until_ready((state, metrics))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            started = time.perf_counter()
            for _ in range(steps):
                state, metrics = compiled(state, data, _KEY)
                jax.block_until_ready((state, metrics))
            seconds = (time.perf_counter() - started) / steps
        spent = _spent(Path(folder), scopes)
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
        {"what": "by the clock", "ms_a_step": round(1e3 * seconds, 2), "share": "-"}
    )
    return rows


def _spent(folder: Path, scopes: dict[str, str]) -> collections.Counter[str]:
    """Nanoseconds of all operations of a trace, by scope."""
    found = sorted(folder.rglob("*.xplane.pb"))
    spent: collections.Counter[str] = collections.Counter()
    for plane in jax.profiler.ProfileData.from_file(str(found[-1])).planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                name = str(stats.get("hlo_op", event.name))
                if name in scopes:
                    spent[scopes[name]] += event.duration_ns
    return spent


def _scopes_of(hlo: str) -> dict[str, str]:
    """The scope of every instruction of a compiled module, loops left out: what is in
    them is listed itself."""
    computation, of_computation, found = "", collections.defaultdict(list), {}
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
        found[name] = op.group(1) if op else ""
        of_computation[computation].append(found[name])
        calls = re.search(r"calls=%?([\w.\-]+)", line)
        if calls:
            called[name] = calls.group(1)
    # a fusion is named after its last operation; where that has no name, what it holds
    for name, inner in called.items():
        found[name] = (
            " ".join([found[name], *of_computation[inner]])
            if (not found[name])
            else found[name]
        )
    return {name: _scope(op) for name, op in found.items()}


def _scope(op_name: str) -> str:
    for scope, pattern in _SCOPES:
        if re.search(pattern, op_name):
            return scope
    return "everything else"
