"""Tests and timings on the machine's own accelerator; prints what the lab notes want.

    make gpu-check

Installs nothing and runs on whatever jax, torch and pytest are there. Where jax finds
no accelerator it says so, and goes the same way with preset `cpu`, to show that it
runs.
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments.bench.training import SHARED, WAYS
from experiments.command_line import read_command_line
from experiments.run import cache_folder, keep_compiled

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from experiments.bench.training_setup import Dtype, PresetName

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Check and time preset `paper` on an accelerator."""

    repetitions: int = 5
    """Timed logging intervals; their median is reported."""
    tests: bool = True
    """Run the tests that need an accelerator."""
    torch: bool = True
    """Time PyTorch's training step beside ours, where torch is installed."""
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("bfloat16", "float32")
    """Precisions of the convolutions that are timed."""
    batches: tuple[int, ...] = (1, 8)
    """Images a step that are timed. Each takes minutes to compile."""

    def __post_init__(self) -> None:
        if self.repetitions < 1:
            raise ValueError(f"repetitions must be at least 1, got {self.repetitions}")
        for batch in self.batches:
            if batch < 1:
                raise ValueError(f"batches must be at least 1, got {batch}")


class Row(NamedTuple):
    """One measured configuration."""

    dtype: str
    batch: int
    training_images_per_second: float
    scoring_images_per_second: float
    peak_gib: float | None


class Tested(NamedTuple):
    """How the tests went."""

    said: str
    failed: bool


def main() -> None:
    """Tests, then training and scoring, then PyTorch. Exit status 1 where a test, or
    PyTorch's timing, failed."""
    from datasets.errors import one_line_errors

    prog = "python -m experiments.gpu_check"
    settings = read_command_line(Settings(), prog=prog, argv=sys.argv[1:])
    with one_line_errors():
        failed = _check(settings)
    if failed:
        raise SystemExit(1)


def _check(settings: Settings) -> bool:
    """Whether anything failed."""
    # Several processes share the device, and jax would take three quarters of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    keep_compiled(cache_folder())
    has_accelerator = jax.default_backend() != "cpu"
    preset: PresetName = "paper" if has_accelerator else "cpu"
    if not has_accelerator:
        print(
            "jax finds no accelerator here: this shows that the check runs, in preset "
            "cpu. Nothing below belongs in docs/lab_notes/.\n"
        )
    kind = jax.devices()[0].device_kind
    date = time.strftime("%Y-%m-%d")
    print(f"{kind}, jax {jax.__version__}, preset {preset}, {date}\n")
    tested = _tested() if settings.tests else Tested("not run", failed=False)
    if settings.tests:
        print(f"tests: {tested.said}\n", flush=True)
    print("| dtype | batch | training images/s | scoring images/s | peak GiB |")
    print("|---|---|---|---|---|")
    dtypes: tuple[Dtype, ...] = settings.dtypes if has_accelerator else ("float32",)
    for dtype in dtypes:
        for batch in settings.batches:
            row = measured(preset, dtype, batch, settings.repetitions)
            peak = "-" if row.peak_gib is None else f"{row.peak_gib:.1f}"
            print(
                f"| {row.dtype} | {row.batch} | {row.training_images_per_second:.1f} | "
                f"{row.scoring_images_per_second:.1f} | {peak} |",
                flush=True,
            )
    failed = tested.failed
    if settings.torch:
        failed |= _beside_torch(preset, "bfloat16" if has_accelerator else "float32")
    return failed


def _tested() -> Tested:
    """Run the tests that need an accelerator; their last line is what they said."""
    missing = [
        name
        for name in ("pytest", "beartype")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        return Tested(f"not run, {' and '.join(missing)} not installed", failed=False)
    # the tests' own environment is a CPU with virtual devices
    environment = {**os.environ, "JAX_PLATFORMS": "", "XLA_FLAGS": ""}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", "gpu", "-W", "default"),
            *("-p", "no:cacheprovider", "tests/test_on_accelerator.py"),
        ],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
    )
    counts = re.compile(r"\d+ (passed|failed|skipped|error)")
    lines = [x for x in done.stdout.splitlines() if counts.search(x)]
    lines = lines or [(done.stderr or done.stdout).strip().rpartition("\n")[2]]
    failed = done.returncode not in (0, 5)  # 5: none was selected
    if failed:
        print(done.stdout, file=sys.stderr)
    return Tested(lines[-1].strip("= "), failed)


def measured(preset: "PresetName", dtype: "Dtype", batch: int, repetitions: int) -> Row:
    """Median rates over `repetitions`, after one run that compiles."""
    import jax
    import numpy as np

    from experiments.bench.training_setup import ready, setup
    from lfq_jax.config import PRESETS
    from lfq_jax.model.scoring import Scorer

    trainer, data = ready(setup(preset, batch_size=batch, dtype=dtype, anomalous=16))
    steps = trainer.config.log_every
    state = trainer.init(jax.random.key(0))

    def train(state: Any) -> Any:
        return jax.block_until_ready(trainer.run(state, data, jax.random.key(1))[0])

    seconds = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        state = train(state)
        seconds.append(time.perf_counter() - started)
    scorer = Scorer(trainer.model, PRESETS[preset].score)
    few, known = data.anomalous.images[:batch], data.anomalous.distance_maps[:batch]
    if trainer.model.config.memory_bank is None:
        known = None
    jax.block_until_ready(scorer(state.variables, few, known))
    scoring = []
    for _ in range(repetitions):
        started = time.perf_counter()
        jax.block_until_ready(
            [scorer(state.variables, few, known) for _ in range(steps)]
        )
        scoring.append(time.perf_counter() - started)
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return Row(
        dtype=dtype,
        batch=batch,
        training_images_per_second=steps * batch / float(np.median(seconds[1:])),
        scoring_images_per_second=steps * batch / float(np.median(scoring)),
        peak_gib=None if peak is None else peak / 2**30,
    )


def _beside_torch(preset: "PresetName", dtype: "Dtype") -> bool:
    """The training step of PyTorch, eager and compiled, in turns with ours. Whether it
    failed."""
    if importlib.util.find_spec("torch") is None:
        print("\nPyTorch: not installed, not timed")
        return False
    print(f"\nbeside PyTorch, {dtype}:\n", flush=True)
    timed = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.training", "--parts", "ways"),
            *("--preset", preset, "--dtype", dtype, "--rounds", "5"),
            *("--cores", str(len(os.sched_getaffinity(0)))),
            *("--ways", *(way for way in WAYS if way != SHARED)),
        ],
        cwd=PROJECT,
    )
    return timed.returncode != 0


if __name__ == "__main__":
    main()
