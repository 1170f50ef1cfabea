"""Settings of the evaluation, read from the command line or from a run to resume."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from agm_torch.cache_folder import cache_folder
from experiments.accuracy.baseline import BASELINE
from experiments.accuracy.candidates import Candidate
from experiments.run.command_line import names, read_command_line, require_at_least
from experiments.run.folder import RunFolder
from lfq_jax.config import from_json

PROG = "python -m experiments.accuracy"


@dataclass(frozen=True)
class Accuracy:
    """Measure candidates on the fixed evaluation. Flags after `--` are passed to the
    main job unchanged: `-- --preset cpu --train.epochs 20`."""

    candidates: tuple[Candidate, ...] = ("main",)
    """Detectors to measure. `main`: the main job. `knn`, `subspace`: the main job with
    this `--method`, on the same features. `draem`: the main job without quantizer and
    without memory bank, trained on DRAEM's anomalies for as many steps.
    `patchcore`: PatchCore on the frozen backbone of `--features`. `patchcore_unit`:
    PatchCore with features scaled to length 1."""
    features: Path | None = None
    """Weights file of PatchCore's frozen backbone."""
    leather_dir: Path | None = None
    """Folder `leather` in MVTec layout, or a folder that contains it."""
    tiles_dir: Path | None = None
    """Folder `magnetic_tile` in MVTec layout, or a folder that contains it. 200 of its
    test images are scored."""
    categories: tuple[str, ...] = ()
    """Categories to run. Default: all of them."""
    shots: int = 2
    """Good parts to learn from, per category."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One repetition per seed. A seed chooses the shots, the anomalies and every random
    draw."""
    out: Path | None = None
    """The evaluation's folder. Default: runs/<date>-<time>-accuracy."""
    resume: Path | None = None
    """Resume the evaluation in this folder, with the settings it was started with."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Prepared data and synthetic anomalies are stored here for the next run."""
    baseline: Path = BASELINE
    """Baseline file to compare with."""
    write_baseline: bool = False
    """Write this evaluation's results into the baseline file."""
    flags: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """The main job's own flags."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, seeds=0)
        for name in ("candidates", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                given = " ".join(map(str, values)) or "none"
                raise ValueError(
                    f"--{name} must be one or more different values, got {given}"
                )
        if self.out and self.resume:
            raise ValueError(
                "--out and --resume exclude each other: a run keeps its folder"
            )
        if self.write_baseline and self.categories:
            raise ValueError(
                "--write-baseline needs every category: leave --categories out"
            )


def read_settings(argv: Sequence[str]) -> Accuracy:
    """The settings that `argv` asks for. Exits with status 2 on a mistake."""
    argv = list(argv)
    cut = argv.index("--") if "--" in argv else len(argv)
    settings = read_command_line(Accuracy(), prog=PROG, argv=argv[:cut])
    return dataclasses.replace(settings, flags=tuple(argv[cut + 1 :]))


def resumed_settings(settings: Accuracy, argv: Sequence[str]) -> Accuracy:
    """The settings of the evaluation that `--resume` names; `settings` without it.

    The baseline flags come from the command line, and so does `--cache-dir` if it is
    given there.
    """
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "accuracy").config
    started = from_json(Accuracy, config)
    is_named = names(argv, "cache_dir")
    return dataclasses.replace(
        started,
        out=None,
        cache_dir=settings.cache_dir if is_named else started.cache_dir,
        resume=settings.resume,
        baseline=settings.baseline,
        write_baseline=settings.write_baseline,
    )
