"""Settings of the evaluation, read from the command line or from a run to resume."""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from agm_torch.cache_folder import cache_folder
from experiments.accuracy.baseline import BASELINE
from experiments.accuracy.candidates import Candidate
from experiments.accuracy.data_sets import FOLDER_SETTINGS, SET_NAMES
from experiments.run.command_line import names, read_command_line, require_at_least
from experiments.run.folder import RunFolder
from lfq_jax.config import from_json

PROG = "python -m experiments.accuracy"
CHANGEABLE = (
    *("candidates", "backbones", "methods", "features", "seeds", "data_sets"),
    *FOLDER_SETTINGS,
    "cache_dir",
)
"""Settings of an evaluation that `--resume` may change: they say which runs there are,
and each run keeps its own settings."""


@dataclass(frozen=True)
class Accuracy:
    """Measure candidates on the fixed evaluation. Flags after `--` are passed to the
    main job unchanged: `-- --preset cpu --train.epochs 20`."""

    candidates: tuple[Candidate, ...] = ("main",)
    """Detectors to measure. `main`: the main job. `knn`, `subspace`, `reconstruction`:
    the main job with this `--method`, on the same features. `draem`: the main job
    without quantizer and without memory bank, trained on DRAEM's anomalies for as many
    steps. `patchcore`: PatchCore on the frozen backbone of `--features`.
    `patchcore_unit`: PatchCore with features scaled to length 1."""
    features: str | None = None
    """PatchCore's frozen backbone: a name that `python -m experiments.backbones` lists,
    or a file of weights."""
    leather_dir: Path | None = None
    """Folder `leather` in MVTec layout, or a folder that contains it."""
    tiles_dir: Path | None = None
    """Folder `magnetic_tile` in MVTec layout, or a folder that contains it. 200 of its
    test images are scored."""
    cookies_dir: Path | None = None
    """Folder `cookie` in MVTec layout, or a folder that contains it."""
    dtd_dir: Path | None = None
    """DTD: its archive, its folder `images`, or a folder that contains it. The sets
    `cut_textures` and `tall_textures` are cut from some of its photographs."""
    elpv_dir: Path | None = None
    """Folder of `labels.csv` of the solar cells. Default: the package elpv-dataset, if
    it is installed."""
    data_sets: tuple[str, ...] = ()
    """Data sets to run. Default: all that are available."""
    categories: tuple[str, ...] = ()
    """Categories to run. Default: all of them."""
    backbones: tuple[str, ...] = ()
    """Backbones to measure `main` with: values of the main job's --backbone. Default:
    the main job's."""
    methods: tuple[str, ...] = ()
    """Methods to measure `main` with, each on every backbone: values of the main job's
    --method. Default: the main job's."""
    shots: int = 2
    """Good parts to learn from, per category."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One repetition per seed. A seed chooses the shots, the anomalies and every random
    draw."""
    out: Path | None = None
    """The evaluation's folder. Default: runs/<date>-<time>-accuracy."""
    resume: Path | None = None
    """Resume the evaluation in this folder, with the settings it was started with.
    Flags that say what is measured (candidates, backbones, methods, seeds, data sets
    and their folders) may be given again. Finished runs are not computed again."""
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
        for name in ("candidates", "seeds", "backbones", "methods"):
            values = getattr(self, name)
            is_empty = not values and name in ("candidates", "seeds")
            if is_empty or len(set(values)) < len(values):
                given = " ".join(map(str, values)) or "none"
                raise ValueError(
                    f"--{name} must be one or more different values, got {given}"
                )
        for name in ("backbones", "methods"):
            if getattr(self, name) and "main" not in self.candidates:
                raise ValueError(f"--{name} needs main among --candidates")
        _check_names("--data-sets", self.data_sets, SET_NAMES)
        if self.out and self.resume:
            raise ValueError(
                "--out and --resume exclude each other: a run keeps its folder"
            )
        if self.write_baseline and self.categories:
            raise ValueError(
                "--write-baseline needs every category: leave --categories out"
            )

    @property
    def folders(self) -> dict[str, Path | None]:
        """The folders of the data sets, by setting."""
        return {name: getattr(self, name) for name in FOLDER_SETTINGS}


def _check_names(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise a ValueError with the closest match if a name is not known."""
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(
                f"{flag} must be some of {', '.join(known)}, got {name}{hint}"
            )


def read_settings(argv: Sequence[str]) -> Accuracy:
    """The settings that `argv` asks for. Exits with status 2 on a mistake."""
    argv = list(argv)
    cut = argv.index("--") if "--" in argv else len(argv)
    settings = read_command_line(Accuracy(), prog=PROG, argv=argv[:cut])
    return dataclasses.replace(settings, flags=tuple(argv[cut + 1 :]))


def resumed_settings(settings: Accuracy, argv: Sequence[str]) -> Accuracy:
    """The settings of the evaluation that `--resume` names; `settings` without it.

    The baseline flags come from the command line, and so do `--cache-dir` and what is
    measured (`CHANGEABLE`) if they are given there.
    """
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "accuracy").config
    started = from_json(Accuracy, config)
    own_flags = argv[: argv.index("--")] if "--" in argv else argv
    named = {
        name: getattr(settings, name) for name in CHANGEABLE if names(own_flags, name)
    }
    return dataclasses.replace(
        started,
        **named,
        out=None,
        resume=settings.resume,
        baseline=settings.baseline,
        write_baseline=settings.write_baseline,
    )
