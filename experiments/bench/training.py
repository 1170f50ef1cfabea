"""How fast a detector learns: ours against PyTorch, and what takes the time and memory.

    python -m experiments.bench.training

Everything runs on random photographs in the shapes of a preset. Each way to run the
training step has a process of its own; the ways take turns, so that what else the
machine does falls on all of them alike.
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
SHARED = "jax_devices"  # ours, the batch shared by as many devices as there are cores
WAYS = ("jax", SHARED, "torch_nchw", "torch_channels_last", "torch_compiled")
Part = Literal["ways", "overhead", "memory", "where", "start_up", "devices"]
PARTS: tuple[Part, ...] = ("ways", "overhead", "memory", "where", "start_up", "devices")
READY = "ready"
_DEVICES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Settings:
    """Measure the training step of a preset."""

    parts: tuple[Part, ...] = PARTS
    """What to measure: images a second against PyTorch; Python's share; memory by the
    compiler's analysis; where the time goes; start-up; losses on several devices."""
    preset: Literal["cpu", "paper"] = "cpu"
    """Shapes and batch size."""
    batch_size: int = 0
    """Images a step. 0: the preset's."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the convolutions, of all ways. `auto`: the preset's."""
    ways: tuple[str, ...] = WAYS
    """Which implementations take turns."""
    rounds: int = 12
    """How often every way has its turn; the medians over the rounds are reported."""
    turn: int = 10
    """Steps in a turn."""
    cores: int = 2
    """Cores, and threads, that every way may use."""
    start_ups: int = 3
    """How often Python is started with a cold and with a warm cache."""
    worker: str = ""
    """For the processes that this one starts: what to run."""

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
    from experiments.command_line import read_command_line

    prog = "python -m experiments.bench.training"
    settings = read_command_line(Settings(), prog=prog, argv=sys.argv[1:])
    with one_line_errors():
        if settings.worker:
            _limit(settings.cores)
            _work(settings)
        else:
            _measure(settings)


def _measure(settings: Settings) -> None:
    measured: dict[str, Any] = {}
    for part in settings.parts:
        print(f"{part} ...", file=sys.stderr, flush=True)
        if part == "ways":
            measured[part] = _ways(settings)
        elif part == "start_up":
            measured[part] = _start_up(settings)
        elif part == "devices":
            measured[part] = _devices(settings)
        else:
            measured[part] = json.loads(_finished(settings, part))
        if part in ("ways", "where", "memory", "devices"):
            print(_table(measured[part]), flush=True)
    print(json.dumps(measured, indent=1))


def _limit(cores: int) -> None:
    """Of the machine's cores this process may use the first ones."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _command(settings: Settings, worker: str) -> list[str]:
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


def _finished(settings: Settings, worker: str, **environment: str) -> str:
    """What a part prints, from a process of its own."""
    done = subprocess.run(
        _command(settings, worker),
        cwd=PROJECT,
        env={**os.environ, **environment},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout


def _devices(settings: Settings) -> list[dict[str, Any]]:
    """How far the losses on several virtual devices are from those on one."""
    import numpy as np

    rows, of_one = [], None
    for count in _DEVICES:
        flag = f"--xla_force_host_platform_device_count={count}"
        out = _finished(settings, "devices", XLA_FLAGS=flag, JAX_PLATFORMS="cpu")
        losses = np.asarray(json.loads(out))
        of_one = losses if of_one is None else of_one
        off = np.abs(losses / of_one - 1)
        rows.append(
            {
                "devices": count,
                "first_step": f"{off[0]:.1e}",
                f"largest_of_{len(off)}_steps": f"{off.max():.1e}",
                "last_loss": round(float(losses[-1]), 6),
            }
        )
    return rows


def _work(settings: Settings) -> None:
    """Be one of the processes."""
    from lfq_jax.training.sharding import share_cores

    if settings.worker == SHARED:  # before anything asks jax for a device
        share_cores(settings.cores)
    from experiments.bench import training_parts
    from experiments.bench.training_setup import setup

    made = setup(settings.preset, batch_size=settings.batch_size, dtype=settings.dtype)
    parts: dict[str, Callable[[], Any]] = {
        "overhead": lambda: training_parts.overhead(made, settings.rounds),
        "memory": lambda: training_parts.memory(settings.dtype),
        "where": lambda: training_parts.where(made, settings.turn),
        "devices": lambda: training_parts.losses_shared(made),
    }
    if settings.worker in parts:
        print(json.dumps(parts[settings.worker]()))
    else:
        _take_turns(_stepper(settings.worker, settings.cores, made))


def _take_turns(step: Callable[[], None]) -> None:
    """Answer lines `count` with the seconds that this many steps take, by the clock
    and of the processors."""
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


def _stepper(way: str, cores: int, made: "Setup") -> Callable[[], None]:
    """One whole training step, its images drawn within, and waited for."""
    from experiments.bench import training_parts

    if way in ("jax", SHARED):
        return training_parts.jax_stepper(made, devices=cores if way == SHARED else 1)
    import torch

    from experiments.bench.torch_training import torch_stepper

    torch.set_num_threads(cores)
    layout = "nchw" if way == "torch_nchw" else "channels_last"
    is_compiled = way == "torch_compiled"
    return torch_stepper(made, layout=layout, is_compiled=is_compiled)


def _ways(settings: Settings) -> list[dict[str, Any]]:
    """Images a second of every way, in turns."""
    import numpy as np

    workers: dict[str, subprocess.Popen[str]] = {}
    seconds: dict[str, list[list[float]]] = {way: [] for way in settings.ways}
    try:
        for way in settings.ways:
            started = subprocess.Popen(
                _command(settings, way),
                cwd=PROJECT,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            workers[way] = started
            assert started.stdout
            if started.stdout.readline().strip() != READY:
                print(f"{way} does not run here", file=sys.stderr)
                del workers[way]
        for _ in range(settings.rounds):
            for way, worker in workers.items():
                assert worker.stdin and worker.stdout
                worker.stdin.write(f"{settings.turn}\n")
                worker.stdin.flush()
                answer = worker.stdout.readline()
                if not answer:
                    raise ChildProcessError(f"{way} ended before its turn did")
                seconds[way].append(json.loads(answer))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    batch = settings.batch_size or _preset_batch(settings.preset)
    rows = []
    for way in workers:
        found, ours = (np.asarray(seconds[each]) for each in (way, "jax"))
        by_clock, of_processors = np.median(found, 0) / settings.turn
        to_ours = np.median(found / ours, 0)
        rows.append(
            {
                "way": way,
                "step_ms": round(1e3 * by_clock, 1),
                "images_per_second": round(batch / by_clock, 1),
                "time_to_ours": round(to_ours[0], 2),
                "processor_ms": round(1e3 * of_processors, 1),
                "processor_to_ours": round(to_ours[1], 2),
            }
        )
    return rows


def _preset_batch(name: str) -> int:
    from lfq_jax.config import PRESETS

    return PRESETS[name].train.batch_size


_FIRST_STEP = """
from pathlib import Path
from experiments.run import keep_compiled
keep_compiled(Path({cache!r}))
from experiments.bench import training_parts
from experiments.bench.training_setup import setup
made = setup({preset!r}, batch_size={batch_size}, dtype={dtype!r}, anomalous=8)
training_parts.jax_stepper(made)()
"""


def _start_up(settings: Settings) -> dict[str, float]:
    """Seconds from starting Python to the end of the first step; least of several."""
    found: dict[str, list[float]] = {"cold_s": [], "warm_s": []}
    for _ in range(settings.start_ups):
        with tempfile.TemporaryDirectory() as cache:
            program = _FIRST_STEP.format(
                cache=cache,
                preset=settings.preset,
                batch_size=settings.batch_size,
                dtype=settings.dtype,
            )
            for name in found:
                started = time.perf_counter()
                subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)
                found[name].append(time.perf_counter() - started)
    return {name: round(min(seconds), 2) for name, seconds in found.items()}


def _table(rows: list[dict[str, Any]]) -> str:
    heads = list(rows[0])
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(str(row[h]) for h in heads)} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
