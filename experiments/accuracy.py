"""The fixed, small evaluation that decides what is kept: 2-shot, three data sets.

    python -m experiments.accuracy --leather-dir DIR --tiles-dir DIR
    python -m experiments.accuracy --seeds 0 --categories gear -- --train.epochs 20

Every candidate sees the same shots and is measured by the same code. What stands
behind `--` are the main job's own flags. A run that was finished is not run again.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from experiments.accuracy_baseline import (
    BASELINE,
    Result,
    read_baseline,
    summarise,
    write_baseline,
)
from experiments.accuracy_candidates import (
    Candidate,
    Job,
    of_candidate,
    open_run,
    run_jobs,
)
from experiments.accuracy_sets import DataSet, find_sets
from experiments.accuracy_table import candidate_table, defect_table, summary
from experiments.command_line import names, read_command_line, require_at_least
from experiments.run import (
    RunFolder,
    cache_folder,
    keep_compiled,
    make_or_open,
    resumable,
)
from lfq_jax.config import as_json, from_json

PROG = "python -m experiments.accuracy"


@dataclass(frozen=True)
class Accuracy:
    """Measure candidates on the fixed evaluation. Flags behind `--` are given to the
    main job as they are: `-- --preset cpu --train.epochs 20`."""

    candidates: tuple[Candidate, ...] = ("main",)
    """`main`: the main job. `draem`: the same without quantizer and without comparison
    with the shots, on DRAEM's anomalies, in as many steps. `patchcore`: PatchCore on
    the frozen encoder of `--features`; `patchcore_unit`: the same with features of
    length 1."""
    features: Path | None = None
    """Weights of PatchCore's frozen encoder."""
    leather_dir: Path | None = None
    """Folder `leather` in MVTec layout, or one that holds it."""
    tiles_dir: Path | None = None
    """Folder `magnetic_tile` in MVTec layout, or one that holds it; 200 of its test
    images are scored."""
    categories: tuple[str, ...] = ()
    """Categories to run. None named: all of them."""
    shots: int = 2
    """Good parts to learn from, a category."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each chooses the shots, the anomalies and every draw of one repetition."""
    out: Path | None = None
    """The evaluation's folder. None named: runs/<date>-<time>-accuracy."""
    resume: Path | None = None
    """Go on with the evaluation in this folder, with the settings it was started
    with."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Prepared data and synthetic anomalies are kept here for the next run."""
    baseline: Path = BASELINE
    """The figures to compare with."""
    write_baseline: bool = False
    """Put this evaluation's figures into the baseline."""
    flags: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """The main job's own flags."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, seeds=0)
        for name in ("candidates", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                given = " ".join(map(str, values)) or "none"
                raise ValueError(
                    f"--{name} must be one or more that differ, got {given}"
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
    """The settings that `argv` asks for; exits 2 on a mistake."""
    argv = list(argv)
    cut = argv.index("--") if "--" in argv else len(argv)
    settings = read_command_line(Accuracy(), prog=PROG, argv=argv[:cut])
    return dataclasses.replace(settings, flags=tuple(argv[cut + 1 :]))


def _resumed(settings: Accuracy, argv: Sequence[str]) -> Accuracy:
    """The settings that the evaluation to go on with was started with."""
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "accuracy").config
    started = from_json(Accuracy, config)
    named = names(argv, "cache_dir")
    return dataclasses.replace(
        started,
        out=None,
        cache_dir=settings.cache_dir if named else started.cache_dir,
        resume=settings.resume,
        baseline=settings.baseline,
        write_baseline=settings.write_baseline,
    )


def _chosen(sets: Sequence[DataSet], categories: Sequence[str]) -> list[DataSet]:
    """The data sets with the named categories alone; all where none is named."""
    if not categories:
        return list(sets)
    known = [category for each in sets for category in each.categories]
    unknown = [category for category in categories if category not in known]
    if unknown:
        raise ValueError(
            f"--categories must be some of {', '.join(known)}, got {unknown[0]}"
        )
    kept = [
        each._replace(categories=tuple(c for c in each.categories if c in categories))
        for each in sets
    ]
    return [each for each in kept if each.categories]


def run(
    settings: Accuracy,
    jobs: Mapping[str, Job],
    sets: Sequence[DataSet],
    folder: Path,
) -> dict[str, Result]:
    """Every run that `folder` has not, and what each candidate reached."""
    results = {}
    for candidate, job in jobs.items():
        of_runs, part_of = {}, {}
        for data in sets:
            for seed in settings.seeds:
                name = f"{data.name}-seed{seed}"
                part_of[name] = data.name
                of_runs[name] = dataclasses.replace(
                    job,
                    shots=settings.shots,
                    seed=seed,
                    dataset=data.dataset,
                    data_dir=data.data_dir,
                    categories=data.categories,
                    cache_dir=settings.cache_dir,
                )
        folders = {
            name: open_run(of_run, folder / candidate / name)
            for name, of_run in of_runs.items()
        }
        print(f"{candidate}: {', '.join(of_runs)}", file=sys.stderr)
        run_jobs(of_runs, folders)
        rows = [
            {**row, "part": part_of[name]}
            for name, each in folders.items()
            for row in each.results()
        ]
        commits = [each.commit for each in folders.values()]
        results[candidate] = summarise(rows, commits)
    return results


def show(results: Mapping[str, Result], baseline: Mapping[str, Result]) -> None:
    """Print every table."""
    for name, result in results.items():
        print(f"\n{candidate_table(name, result, baseline.get(name))}")
        if table := defect_table(result):
            print(f"\n{table}")
        if len(result.commits) > 1:
            print(f"measured at different commits: {', '.join(result.commits)}")
    print(f"\n{summary(results, baseline)}")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; returns normally only where the evaluation is whole."""
    argv = sys.argv[1:] if argv is None else argv
    settings = read_settings(argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        settings = _resumed(settings, argv)
        jobs = {
            candidate: of_candidate(candidate, settings.flags, settings.features)
            for candidate in settings.candidates
        }
        baseline = read_baseline(settings.baseline)
        sets, skipped = find_sets(
            settings.leather_dir,
            settings.tiles_dir,
            cache_dir=settings.cache_dir / "accuracy",
        )
        if settings.write_baseline and skipped:
            raise ValueError(f"--write-baseline needs every data set; {skipped[0]}")
        sets = _chosen(sets, settings.categories)
        keep_compiled(settings.cache_dir)
        folder = make_or_open(
            as_json(settings),
            command="accuracy",
            out=settings.out,
            resume=settings.resume,
            name="accuracy",
        )
        for line in skipped:
            print(line)
        with resumable(PROG, folder.path):
            results = run(settings, jobs, sets, folder.path)
        show(results, baseline)
        print(f"\nruns      {folder.path}/<candidate>/<data set>-seed<seed>")
        if settings.write_baseline:
            write_baseline(settings.baseline, results)
            print(f"baseline  {settings.baseline}")


if __name__ == "__main__":
    main()
