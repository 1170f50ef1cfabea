"""The fixed, small evaluation that decides what is kept: 2-shot, seven data sets.

    python -m experiments.accuracy --leather-dir DIR --tiles-dir DIR --dtd-dir DIR
    python -m experiments.accuracy --seeds 0 --categories gear -- --train.epochs 20
    python -m experiments.accuracy --backbones none squeezenet.npz --methods knn lfquiad

Every candidate is given the same shots and is measured by the same code. Flags after
`--` are the main job's own. Finished runs are skipped.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.accuracy.baseline import (
    Result,
    read_baseline,
    summarise,
    write_baseline,
)
from experiments.accuracy.candidates import Job, candidate_job, open_run, run_jobs
from experiments.accuracy.data_sets import DataSet, find_sets
from experiments.accuracy.grid import main_jobs
from experiments.accuracy.settings import (
    PROG,
    Accuracy,
    read_settings,
    resumed_settings,
)
from experiments.accuracy.table import (
    candidate_table,
    defect_table,
    spread_table,
    summary,
)
from experiments.run.compile_cache import keep_compiled
from experiments.run.folder import make_or_open
from experiments.run.interruption import resumable, stopped
from lfq_jax.config import as_json


def _select_categories(
    sets: Sequence[DataSet], categories: Sequence[str]
) -> list[DataSet]:
    """The data sets reduced to the named categories; all of them if none is named.

    Raises:
      ValueError: if no data set has a named category.
    """
    if not categories:
        return list(sets)
    known = [category for data in sets for category in data.categories]
    unknown = [category for category in categories if category not in known]
    if unknown:
        raise ValueError(
            f"--categories must be some of {', '.join(known)}, got {unknown[0]}"
        )
    kept = [
        data._replace(categories=tuple(c for c in data.categories if c in categories))
        for data in sets
    ]
    return [data for data in kept if data.categories]


class Measured(NamedTuple):
    """The rows of all runs of one candidate."""

    rows: list[dict[str, Any]]
    """Rows of results.jsonl, each with the name of its data set as `part`."""
    commits: list[str]
    """Commits at which the rows were measured."""

    @property
    def result(self) -> Result:
        """Means over the seeds."""
        return summarise(self.rows, self.commits)


def run(
    settings: Accuracy,
    jobs: Mapping[str, Job],
    sets: Sequence[DataSet],
    folder: Path,
) -> dict[str, Measured]:
    """The rows of every candidate, after the runs that `folder` lacks."""
    return {
        candidate: _run_candidate(settings, job, sets, folder / candidate)
        for candidate, job in jobs.items()
    }


def _run_candidate(
    settings: Accuracy, job: Job, sets: Sequence[DataSet], folder: Path
) -> Measured:
    """The rows of one candidate; one run per data set and seed, in `folder`."""
    jobs, data_set_of = {}, {}  # by the name of the run
    for data in sets:
        for seed in settings.seeds:
            name = f"{data.name}-seed{seed}"
            data_set_of[name] = data.name
            jobs[name] = dataclasses.replace(
                job,
                shots=settings.shots,
                seed=seed,
                dataset=data.dataset,
                data_dir=data.data_dir,
                kind=data.kind,
                categories=data.categories,
                cache_dir=settings.cache_dir,
            )
    folders = {name: open_run(job, folder / name) for name, job in jobs.items()}
    print(f"{folder.name}: {', '.join(jobs)}", file=sys.stderr)
    run_jobs(jobs, folders)
    rows = [
        {**row, "part": data_set_of[name]}
        for name, run_folder in folders.items()
        for row in run_folder.results()
    ]
    commits = [run_folder.commit for run_folder in folders.values()]
    return Measured(rows, commits)


def show(results: Mapping[str, Result], baseline: Mapping[str, Result]) -> None:
    """Print every table."""
    for name, result in results.items():
        print(f"\n{candidate_table(name, result, baseline.get(name))}")
        if table := defect_table(result):
            print(f"\n{table}")
        if len(result.commits) > 1:
            print(f"measured at different commits: {', '.join(result.commits)}")
    print(f"\n{summary(results, baseline)}")


def _all_jobs(settings: Accuracy) -> dict[str, Job]:
    """What is measured, without data and seed, by the name of its folder.

    Raises:
      ValueError: if two jobs have one name.
    """
    jobs: dict[str, Job] = {}
    for candidate in settings.candidates:
        more: Mapping[str, Job]
        if candidate == "main":
            more = main_jobs(
                settings.flags,
                backbones=settings.backbones,
                methods=settings.methods,
            )
        else:
            job = candidate_job(candidate, settings.flags, settings.features)
            more = {candidate: job}
        if twice := jobs.keys() & more.keys():
            raise ValueError(
                f"--candidates and --backbones with --methods both name {min(twice)}"
            )
        jobs |= more
    return jobs


def _check_baseline_sets(
    baseline: Mapping[str, Result],
    jobs: Mapping[str, Job],
    sets: Sequence[DataSet],
    skipped: Sequence[str],
) -> None:
    """Refuse to write a baseline that loses a data set of the previous one.

    Raises:
      ValueError: names a data set that would be lost.
    """
    measured = {data.name for data in sets}
    for name in jobs.keys() & baseline.keys():
        for part in baseline[name].figures:
            if part not in measured:
                reasons = [line for line in skipped if line.startswith(f"{part} ")]
                reason = reasons[0] if reasons else f"{part} is not among --data-sets"
                raise ValueError(
                    f"--write-baseline needs every data set of the baseline; {reason}"
                )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Returns only if the evaluation is complete."""
    argv = sys.argv[1:] if argv is None else argv
    settings = read_settings(argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        settings = resumed_settings(settings, argv)
        jobs = _all_jobs(settings)
        baseline = read_baseline(settings.baseline)
        sets, skipped = find_sets(
            settings.folders,
            cache_dir=settings.cache_dir / "accuracy",
            names=settings.data_sets,
        )
        if settings.write_baseline:
            _check_baseline_sets(baseline, jobs, sets, skipped)
        sets = _select_categories(sets, settings.categories)
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
        with resumable(stopped(PROG, folder.path)), folder.in_use():
            measured = run(settings, jobs, sets, folder.path)
        results = {name: found.result for name, found in measured.items()}
        show(results, baseline)
        rows = {name: found.rows for name, found in measured.items()}
        print(f"\n{spread_table(rows)}")
        print(f"\nruns      {folder.path}/<candidate>/<data set>-seed<seed>")
        if settings.write_baseline:
            write_baseline(settings.baseline, results)
            print(f"baseline  {settings.baseline}")


if __name__ == "__main__":
    main()
