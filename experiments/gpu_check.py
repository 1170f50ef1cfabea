"""Tests and timings on the machine's own accelerator; prints what the lab notes want.

    make gpu-check

Installs nothing, and uses the jax, torch and pytest that are installed. Without an
accelerator the check prints that, and runs the same steps with preset `cpu`, to show
that they work.
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

from agm_torch.cache_folder import cache_folder
from experiments.bench.training import SHARED, WAYS
from experiments.run.command_line import read_command_line
from experiments.run.compile_cache import keep_compiled

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from experiments.bench.training_setup import Dtype, PresetName

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Check and time preset `paper` on an accelerator."""

    repetitions: int = 5
    """Number of timed logging intervals. Their median is reported."""
    tests: bool = True
    """Run the tests that need an accelerator."""
    torch: bool = True
    """Also time the training step in PyTorch, if torch is installed."""
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("bfloat16", "float32")
    """Precisions of the convolutions to time."""
    batches: tuple[int, ...] = (1, 8)
    """Batch sizes to time. Each takes minutes to compile."""

    def __post_init__(self) -> None:
        if self.repetitions < 1:
            raise ValueError(f"repetitions must be at least 1, got {self.repetitions}")
        for batch in self.batches:
            if batch < 1:
                raise ValueError(f"batches must be at least 1, got {batch}")


class Row(NamedTuple):
    """The measurements of one configuration."""

    dtype: str
    batch: int
    training_images_per_second: float
    scoring_images_per_second: float
    peak_gib: float | None


class TestOutcome(NamedTuple):
    """The result of the tests."""

    summary: str
    failed: bool


def main() -> None:
    """Run the tests, then time training and scoring, then PyTorch.

    Exits with status 1 if a test or the timing of PyTorch failed.
    """
    from datasets.errors import one_line_errors

    prog = "python -m experiments.gpu_check"
    settings = read_command_line(Settings(), prog=prog, argv=sys.argv[1:])
    with one_line_errors():
        failed = _check(settings)
    if failed:
        raise SystemExit(1)


def _check(settings: Settings) -> bool:
    """Run every check and print its results. Returns whether a check failed."""
    # Several processes share the device; by default jax reserves 75 % of its memory.
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
    failed = False
    if settings.tests:
        outcome = _run_tests()
        failed = outcome.failed
        print(f"tests: {outcome.summary}\n", flush=True)
    print("| dtype | batch | training images/s | scoring images/s | peak GiB |")
    print("|---|---|---|---|---|")
    dtypes: tuple[Dtype, ...] = settings.dtypes if has_accelerator else ("float32",)
    for dtype in dtypes:
        for batch in settings.batches:
            row = measure(preset, dtype, batch, settings.repetitions)
            peak = "-" if row.peak_gib is None else f"{row.peak_gib:.1f}"
            print(
                f"| {row.dtype} | {row.batch} | {row.training_images_per_second:.1f} | "
                f"{row.scoring_images_per_second:.1f} | {peak} |",
                flush=True,
            )
    if settings.torch:
        failed |= _time_torch(preset, "bfloat16" if has_accelerator else "float32")
    return failed


def _run_tests() -> TestOutcome:
    """Run the tests that need an accelerator. The summary is pytest's last line."""
    missing = [
        name
        for name in ("pytest", "beartype")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        return TestOutcome(
            f"not run, {' and '.join(missing)} not installed", failed=False
        )
    # overrides the CPU with virtual devices that tests/conftest.py sets
    environment = {**os.environ, "JAX_PLATFORMS": "", "XLA_FLAGS": ""}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", "gpu", "-W", "default"),
            *("-p", "no:cacheprovider", "tests/experiments/test_on_accelerator.py"),
        ],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
    )
    counts = re.compile(r"\d+ (passed|failed|skipped|error)")
    lines = [x for x in done.stdout.splitlines() if counts.search(x)]
    lines = lines or [(done.stderr or done.stdout).strip().rpartition("\n")[2]]
    failed = done.returncode not in (0, 5)  # 5: no test was selected
    if failed:
        print(done.stdout, file=sys.stderr)
    return TestOutcome(lines[-1].strip("= "), failed)


def images_to_score(data: Any, count: int) -> tuple[Any, Any]:
    """The first `count` anomalous images of training data, and their distance maps."""
    import jax

    first = jax.tree.map(lambda array: array[:count], data.anomalous)
    return first.images, first.distance_maps


def measure(preset: "PresetName", dtype: "Dtype", batch: int, repetitions: int) -> Row:
    """Median rates over `repetitions`, after one run for compilation."""
    import jax
    import numpy as np

    from experiments.bench.training_setup import make_setup, wait_for
    from lfq_jax.config import PRESETS
    from lfq_jax.model.scoring import Scorer

    setup = make_setup(preset, batch_size=batch, dtype=dtype, anomalous=16)
    trainer, data = wait_for(setup)
    steps = trainer.config.log_every  # in a logging interval
    state = trainer.init(jax.random.key(0))

    def train(state: Any) -> Any:
        return jax.block_until_ready(trainer.run(state, data, jax.random.key(1))[0])

    training_seconds = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        state = train(state)
        training_seconds.append(time.perf_counter() - started)
    scorer = Scorer(trainer.model, PRESETS[preset].score)
    images, distance_maps = images_to_score(data, batch)
    if trainer.model.config.memory_bank is None:
        distance_maps = None
    jax.block_until_ready(scorer(state.variables, images, distance_maps))
    scoring_seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        jax.block_until_ready(
            [scorer(state.variables, images, distance_maps) for _ in range(steps)]
        )
        scoring_seconds.append(time.perf_counter() - started)
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return Row(
        dtype=dtype,
        batch=batch,
        training_images_per_second=steps
        * batch
        / float(np.median(training_seconds[1:])),
        scoring_images_per_second=steps * batch / float(np.median(scoring_seconds)),
        peak_gib=None if peak is None else peak / 2**30,
    )


def _time_torch(preset: "PresetName", dtype: "Dtype") -> bool:
    """Time the training step in PyTorch, eager and compiled, alternating with ours.

    Returns whether the timing failed.
    """
    if importlib.util.find_spec("torch") is None:
        print("\nPyTorch: not installed, not timed")
        return False
    print(f"\ncompared with PyTorch, {dtype}:\n", flush=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.training", "--parts", "ways"),
            *("--preset", preset, "--dtype", dtype, "--rounds", "5"),
            *("--cores", str(len(os.sched_getaffinity(0)))),
            *("--ways", *(way for way in WAYS if way != SHARED)),
        ],
        cwd=PROJECT,
    )
    return done.returncode != 0


if __name__ == "__main__":
    main()
