"""Check that two checkouts of this project train the same detectors, bit by bit.

    python -m experiments.bench.same_bits --before OLD --after .

Each checkout runs the main job on tiny images with tiny networks, in three cases:
`scratch` is one texture and one object of `rendered_ad` with a memory bank,
`pretrained` an object with a backbone of random weights as well, and `paper` an object
without a memory bank. Nearly all the time is compilation. Then results, logs,
predictions, thresholds and weights are compared. Names that differ between the
checkouts stand in `RENAMED_FLAGS` and in `run_differences.SYNONYMS`.

Prints a table. The exit status is 1 where anything differs.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.bench.run_differences import Compared, compare_runs
from experiments.run.command_line import read_flags

RENAMED_FLAGS = (
    ("--model.memory-bank.", "--model.reference."),
    ("--backbone", "--encoder"),
)
"""How flags begin now, and how they began before."""
SMALL = (
    *("--shots", "2", "--anomalies", "6", "--validation-anomalies", "4"),
    *("--model.reconstructive-widths", "6", "8", "--pictures", "1"),
    *("--model.discriminative-widths", "6", "8", "--score.batch-size", "16"),
    *("--train.log-every", "2", "--train.batch-size", "4"),
    *("--train.epochs", "2", "--train.epoch-images", "8"),
    *("--train.validate-every-epochs", "1", "--train.patience-epochs", "0"),
)
WITH_MEMORY_BANK = (
    *("--preset", "best", "--model.image-px", "64", "--train.crop-px", "32"),
    *("--model.memory-bank.levels", "2", "--model.memory-bank.patches", "64"),
    *("--train.good-images", "4", "--texture-px", "80"),
)
BACKBONE = "backbone.npz"
"""In a case's flags: stands for the file of the random pretrained network."""


class Case(NamedTuple):
    """One run of the main job."""

    categories: tuple[str, ...]
    flags: tuple[str, ...]


CASES = {
    "scratch": Case(
        ("brushed_metal", "bolt"), (*WITH_MEMORY_BANK, "--backbone", "none")
    ),
    "pretrained": Case(
        ("bolt",),
        (*WITH_MEMORY_BANK, "--backbone", BACKBONE),
    ),
    "paper": Case(("bolt",), ("--preset", "paper", "--model.image-px", "32")),
}
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # networks this small compile for minutes
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True)
class Settings:
    """Train tiny detectors with two checkouts, and compare every number."""

    before: Path
    """A checkout of this project, or the runs that one made with `--out`."""
    after: Path
    """The checkout to compare with it, or its runs."""
    out: Path | None = None
    """Keep the runs in `before` and `after` of this folder. Default: a temporary
    folder."""
    cases: tuple[Literal["scratch", "pretrained", "paper"], ...] = (
        *("scratch", "pretrained", "paper"),
    )
    """Runs to make and compare."""

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError("--cases must be one or more, got none")


def main() -> None:
    """Run both checkouts, compare, and print a table."""
    settings = read_flags(Settings, prog="python -m experiments.bench.same_bits")
    from datasets.errors import one_line_errors

    with one_line_errors(), tempfile.TemporaryDirectory() as scratch:
        out = settings.out or Path(scratch, "runs")
        for flag, side in (("before", settings.before), ("after", settings.after)):
            _check(flag, side, out / flag, settings.cases)
        rest = Path(scratch), settings.cases
        before = _finished_runs(settings.before, out / "before", *rest)
        after = _finished_runs(settings.after, out / "after", *rest)
        compared = {
            case: compare_runs(before / case, after / case) for case in settings.cases
        }
    print(table(compared))
    for case, rows in compared.items():
        for row in rows:
            if row.difference:
                print(f"differs: {case}/{row.file}: {row.difference}", file=sys.stderr)
                raise SystemExit(1)


def table(compared: dict[str, list[Compared]]) -> str:
    """One row for each file: what was compared, and whether it is equal."""
    lines = ["| case | file | compared | equal |", "|---|---|---|---|"]
    for case, rows in compared.items():
        for row in rows:
            equal = "no" if row.difference else "yes"
            lines.append(f"| {case} | {row.file} | {row.number} {row.unit} | {equal} |")
    return "\n".join(lines)


def _is_checkout(folder: Path) -> bool:
    command = folder / "experiments" / "few_shot"
    return command.with_suffix(".py").is_file() or (command / "__main__.py").is_file()


def _check(flag: str, side: Path, out: Path, cases: Sequence[str]) -> None:
    """Refuse a side that can be neither run nor read, before anything runs."""
    if not side.is_dir():
        raise ValueError(f"--{flag} must be a folder, got {side}")
    if not _is_checkout(side):
        missing = [c for c in cases if not (side / c / "results.jsonl").is_file()]
        if missing:
            raise ValueError(
                f"--{flag} must be a checkout of this project or its finished runs, "
                f"but {side} has neither experiments/few_shot nor {missing[0]}/"
                "results.jsonl"
            )
    elif out.exists():
        raise ValueError(f"{out} exists already: choose another --out")


def _finished_runs(side: Path, out: Path, scratch: Path, cases: Sequence[str]) -> Path:
    """The folder of a side's runs; makes them where `side` is a checkout."""
    if not _is_checkout(side):
        return side
    checkout, out = side.resolve(), out.resolve()
    backbone = scratch / BACKBONE
    write_random_squeezenet(backbone)
    known = _main_job(checkout, "--help")
    for case in cases:
        categories, flags = CASES[case]
        print(f"{out.name}: {case}", file=sys.stderr, flush=True)
        words = [word.replace(BACKBONE, str(backbone)) for word in (*SMALL, *flags)]
        cache = scratch / f"cache-{out.name}"
        _main_job(
            checkout,
            *_all_spelled(words, known),
            *("--categories", *categories, "--out", str(out / case)),
            *("--cache-dir", str(cache)),
        )
    return out


def _all_spelled(words: Sequence[str], known: str) -> list[str]:
    """A command line as the main job whose help is `known` spells it."""
    spelled = [_spelled(word, known) for word in words]
    for before, word in enumerate(spelled[1:]):
        if spelled[before] == "--encoder":
            is_none = word == "none"
            spelled[before + 1] = "scratch" if is_none else f"pretrained:{word}"
    return spelled


def _spelled(word: str, known: str) -> str:
    """A flag as the main job whose help is `known` spells it; a value as it is."""
    for now, before in RENAMED_FLAGS:
        if word.startswith(now) and not re.search(rf"{re.escape(word)}\b", known):
            return before + word.removeprefix(now)
    return word


def _main_job(checkout: Path, *arguments: str) -> str:
    """What the main job of a checkout prints.

    Raises:
      ValueError: where it fails; the message holds its last line.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("JAX_") and name != "PYTHONSAFEPATH"
    }
    environment |= {**ENVIRONMENT, "PYTHONPATH": str(checkout), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "experiments.few_shot", *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise ValueError(
            f"the main job of {checkout} ended with status {done.returncode}: "
            f"{said[-1]}"
        )
    return done.stdout


def write_random_squeezenet(path: Path) -> None:
    """A SqueezeNet 1.1 of random weights under the names of Caffe's release."""
    import numpy as np

    rng = np.random.default_rng(0)
    squeezed = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
    kernels, inputs = {"conv1": (64, 3, 3)}, 64
    for fire, channels in squeezed.items():
        kernels[f"fire{fire}/squeeze1x1"] = (channels, inputs, 1)
        kernels[f"fire{fire}/expand1x1"] = (4 * channels, channels, 1)
        kernels[f"fire{fire}/expand3x3"] = (4 * channels, channels, 3)
        inputs = 8 * channels
    arrays = {}
    for name, (outputs, width, side) in kernels.items():
        deviation = (2 / (width * side * side)) ** 0.5
        kernel = rng.normal(0, deviation, (outputs, width, side, side))
        # the first layer sees values up to 255
        arrays[f"{name}/w"] = (kernel / 64 if name == "conv1" else kernel).astype("f2")
        arrays[f"{name}/b"] = np.zeros(outputs, np.float16)
    np.savez(path, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
