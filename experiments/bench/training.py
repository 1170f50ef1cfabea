"""Measures the training step: speed against PyTorch, and where time and memory go.

    python -m experiments.bench.training

Everything runs on random images in the shapes of a preset. Each implementation ("way")
of the training step has its own process. The ways take turns, so that other work on the
machine slows all of them equally.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # it imports jax, which --help must not wait for
    from experiments.bench.training_setup import Setup

PROJECT = Path(__file__).resolve().parent.parent.parent
SHARED = "jax_devices"  # ours, each batch shared by one device per core
WAYS = ("jax", SHARED, "torch_nchw", "torch_channels_last", "torch_compiled")
Part = Literal["ways", "overhead", "memory", "where", "start_up", "devices"]
PARTS: tuple[Part, ...] = ("ways", "overhead", "memory", "where", "start_up", "devices")
READY = "ready"
_DEVICES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Settings:
    """Measure the training step of a preset."""

    parts: tuple[Part, ...] = PARTS
    """What to measure. `ways`: images per second against PyTorch. `overhead`: Python's
    share of the time. `memory`: by the compiler's analysis. `where`: time by operation.
    `start_up`: time to the first step. `devices`: losses on several devices."""
    preset: Literal["cpu", "paper"] = "cpu"
    """Preset that gives shapes and batch size."""
    batch_size: int = 0
    """Images per step. 0: the preset's."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the convolutions, in all ways. `auto`: the preset's."""
    ways: tuple[str, ...] = WAYS
    """Implementations that take turns."""
    rounds: int = 12
    """Number of turns of every way. Medians over the rounds are reported."""
    turn: int = 10
    """Steps per turn."""
    cores: int = 2
    """Cores and threads that every way may use."""
    start_ups: int = 3
    """Number of starts of Python with a cold cache, each followed by one with a warm
    cache."""
    worker: str = ""
    """Internal: what this process runs."""

    def __post_init__(self) -> None:
        for name in ("rounds", "turn", "cores", "start_ups"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.batch_size < 0:
            raise ValueError(f"batch_size must be at least 0, got {self.batch_size}")
        unknown = set(self.ways) - set(WAYS)
        if unknown or "jax" not in self.ways:
            raise ValueError(
                f"ways must be jax and any of {', '.join(WAYS[1:])}, got {self.ways}"
            )


def main() -> None:
    """Measure and print tables and one JSON object."""
    from datasets.errors import one_line_errors
    from experiments.run.command_line import read_command_line

    prog = "python -m experiments.bench.training"
    settings = read_command_line(Settings(), prog=prog, argv=sys.argv[1:])
    with one_line_errors():
        if settings.worker:
            _use_cores(settings.cores)
            _run_worker(settings)
        else:
            _measure(settings)


def _measure(settings: Settings) -> None:
    """Measure and print every part."""
    measured: dict[str, Any] = {}
    for part in settings.parts:
        print(f"{part} ...", file=sys.stderr, flush=True)
        if part == "ways":
            measured[part] = _time_ways(settings)
        elif part == "start_up":
            measured[part] = _time_start_up(settings)
        elif part == "devices":
            measured[part] = _compare_devices(settings)
        else:
            measured[part] = json.loads(_output_of(settings, part))
        if part in ("ways", "where", "memory", "devices"):
            print(_table(measured[part]), flush=True)
    print(json.dumps(measured, indent=1))


def _use_cores(cores: int) -> None:
    """Restrict this process to the first cores of those that it may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _command(settings: Settings, worker: str) -> list[str]:
    """The command that starts a worker process with these settings."""
    flags = {
        "preset": settings.preset,
        "batch-size": settings.batch_size,
        "dtype": settings.dtype,
        "cores": settings.cores,
        "rounds": settings.rounds,
        "turn": settings.turn,
        "worker": worker,
    }
    command = [sys.executable, "-m", "experiments.bench.training"]
    for name, value in flags.items():
        command += [f"--{name}", str(value)]
    return command


def _output_of(settings: Settings, worker: str, **environment: str) -> str:
    """The output of a worker process."""
    done = subprocess.run(
        _command(settings, worker),
        cwd=PROJECT,
        env={**os.environ, **environment},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout


def _compare_devices(settings: Settings) -> list[dict[str, Any]]:
    """Deviations of the losses on several virtual devices from those on one device."""
    import numpy as np

    rows, on_one = [], None
    for count in _DEVICES:
        flag = f"--xla_force_host_platform_device_count={count}"
        output = _output_of(settings, "devices", XLA_FLAGS=flag, JAX_PLATFORMS="cpu")
        losses = np.asarray(json.loads(output))
        on_one = losses if on_one is None else on_one
        deviations = np.abs(losses / on_one - 1)
        rows.append(
            {
                "devices": count,
                "first_step": f"{deviations[0]:.1e}",
                f"largest_of_{len(deviations)}_steps": f"{deviations.max():.1e}",
                "last_loss": round(float(losses[-1]), 6),
            }
        )
    return rows


def _run_worker(settings: Settings) -> None:
    """Run one part, or serve the turns of one way, in this process."""
    from lfq_jax.training.sharding import share_cores

    if settings.worker == SHARED:  # before anything asks jax for a device
        share_cores(settings.cores)
    from experiments.bench import training_parts
    from experiments.bench.training_setup import make_setup

    setup = make_setup(
        settings.preset, batch_size=settings.batch_size, dtype=settings.dtype
    )
    parts: dict[str, Callable[[], Any]] = {
        "overhead": lambda: training_parts.measure_overhead(setup, settings.rounds),
        "memory": lambda: training_parts.measure_memory(settings.dtype),
        "where": lambda: training_parts.time_by_operation(setup, settings.turn),
        "devices": lambda: training_parts.losses_on_all_devices(setup),
    }
    if settings.worker in parts:
        print(json.dumps(parts[settings.worker]()))
    else:
        _serve_turns(_stepper(settings.worker, settings.cores, setup))


def _serve_turns(step: Callable[[], None]) -> None:
    """Answer every input line, a number of steps, with the time that they take.

    The answer is a list of wall-clock seconds and processor seconds.
    """
    import numpy as np

    step()
    step()
    print(READY, flush=True)
    for line in sys.stdin:
        started = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            step()
        ended = time.perf_counter(), time.process_time()
        print(json.dumps(np.subtract(ended, started).tolist()), flush=True)


def _stepper(way: str, cores: int, setup: "Setup") -> Callable[[], None]:
    """A function that performs one complete training step, including the drawing of
    its images, and returns when the step is finished."""
    from experiments.bench import training_parts

    if way in ("jax", SHARED):
        return training_parts.jax_stepper(setup, devices=cores if way == SHARED else 1)
    import torch

    from experiments.bench.torch_training import torch_stepper

    torch.set_num_threads(cores)
    layout = "nchw" if way == "torch_nchw" else "channels_last"
    is_compiled = way == "torch_compiled"
    return torch_stepper(setup, layout=layout, is_compiled=is_compiled)


def _time_ways(settings: Settings) -> list[dict[str, Any]]:
    """Images per second of every way. The ways take turns."""
    workers: dict[str, subprocess.Popen[str]] = {}
    try:
        for way in settings.ways:
            workers[way] = _start_worker(settings, way)
            if _read_line(workers[way]).strip() != READY:
                print(f"{way} does not run here", file=sys.stderr)
                del workers[way]
        times = _times_of_turns(settings, workers)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return _way_rows(settings, times)


def _start_worker(settings: Settings, way: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        _command(settings, way),
        cwd=PROJECT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _read_line(worker: "subprocess.Popen[str]") -> str:
    """The worker's next line of output; empty if the worker has ended."""
    assert worker.stdout
    return worker.stdout.readline()


def _times_of_turns(
    settings: Settings, workers: dict[str, "subprocess.Popen[str]"]
) -> dict[str, list[list[float]]]:
    """Wall-clock and processor seconds of every turn, by way."""
    times: dict[str, list[list[float]]] = {way: [] for way in workers}
    for _ in range(settings.rounds):
        for way, worker in workers.items():
            assert worker.stdin
            worker.stdin.write(f"{settings.turn}\n")
            worker.stdin.flush()
            answer = _read_line(worker)
            if not answer:
                raise ChildProcessError(f"{way} ended before the end of its turn")
            times[way].append(json.loads(answer))
    return times


def _way_rows(
    settings: Settings, times: dict[str, list[list[float]]]
) -> list[dict[str, Any]]:
    """One row per way: medians over the rounds, and ratios to ours."""
    import numpy as np

    batch = settings.batch_size or _preset_batch(settings.preset)
    ours = np.asarray(times["jax"])
    rows = []
    for way in times:
        seconds = np.asarray(times[way])
        clock, processor = np.median(seconds, 0) / settings.turn
        to_ours = np.median(seconds / ours, 0)
        rows.append(
            {
                "way": way,
                "step_ms": round(1e3 * clock, 1),
                "images_per_second": round(batch / clock, 1),
                "time_to_ours": round(to_ours[0], 2),
                "processor_ms": round(1e3 * processor, 1),
                "processor_to_ours": round(to_ours[1], 2),
            }
        )
    return rows


def _preset_batch(name: str) -> int:
    from lfq_jax.config import PRESETS

    return PRESETS[name].train.batch_size


_FIRST_STEP = """
from pathlib import Path
from experiments.run.compile_cache import keep_compiled
keep_compiled(Path({cache!r}))
from experiments.bench import training_parts
from experiments.bench.training_setup import make_setup
setup = make_setup({preset!r}, batch_size={batch_size}, dtype={dtype!r}, anomalous=8)
training_parts.jax_stepper(setup)()
"""


def _time_start_up(settings: Settings) -> dict[str, float]:
    """Shortest seconds from the start of Python to the end of the first step."""
    seconds: dict[str, list[float]] = {"cold_s": [], "warm_s": []}
    for _ in range(settings.start_ups):
        with tempfile.TemporaryDirectory() as cache:
            program = _FIRST_STEP.format(
                cache=cache,
                preset=settings.preset,
                batch_size=settings.batch_size,
                dtype=settings.dtype,
            )
            for name in seconds:
                started = time.perf_counter()
                subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)
                seconds[name].append(time.perf_counter() - started)
    return {name: round(min(times), 2) for name, times in seconds.items()}


def _table(rows: list[dict[str, Any]]) -> str:
    heads = list(rows[0])
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(str(row[h]) for h in heads)} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
