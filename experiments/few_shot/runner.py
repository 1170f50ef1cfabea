"""Runs the categories of one run or of several, and finishes each run."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from experiments.few_shot.category import run_category
from experiments.few_shot.settings import FewShot
from experiments.run.concurrency import Job, run_concurrently
from experiments.run.folder import RunFolder

if TYPE_CHECKING:
    from datasets import Shots


class Run(NamedTuple):
    """A run to complete."""

    settings: FewShot
    shots: "dict[str, Shots]"
    """By category."""
    folder: RunFolder


def run(settings: FewShot, shots: "dict[str, Shots]", folder: RunFolder) -> None:
    """Run every category without a result in `folder`; write the table and report."""
    run_together({"": Run(settings, shots, folder)}, at_once=settings.at_once)


def run_together(runs: Mapping[str, Run], *, at_once: int) -> None:
    """Run every category without a result, `at_once` at the same time, of all runs.

    A run's table and report are written as soon as the run is complete. The folders are
    locked meanwhile.

    Args:
      runs: by the name that messages about their categories begin with.
    """
    from datasets.stopping import noted_signals
    from lfq_jax.training.sharding import any_host

    with contextlib.ExitStack() as locks, noted_signals() as should_stop:
        for run in runs.values():
            locks.enter_context(run.folder.in_use(should_stop))
        jobs: dict[str, Job] = {}
        run_of: dict[str, Run] = {}
        for run_name, run in runs.items():
            left = _jobs(run, should_stop)
            for category, job in left.items():
                name = f"{run_name} {category}" if run_name else category
                jobs[name], run_of[name] = job, run
            if not left:
                finish(run)

        def stops() -> bool:
            return any_host(should_stop())

        for name, line in run_concurrently(jobs, at_once=at_once, should_stop=stops):
            run = run_of[name]
            run.folder.add_result(line, order=list(run.shots))
            if len(run.folder.results()) == len(run.shots):
                finish(run)


def finish(run: Run) -> None:
    """Print the table of a complete run, and write its report."""
    from experiments.report.page import write_report
    from experiments.report.results_table import results_table

    folder = run.folder.path
    print(results_table(run.folder.results()))
    print(f"\npictures  {folder}/<category>/pictures")
    print(f"report    {write_report(folder)}")


def _jobs(run: Run, should_stop: Callable[[], bool]) -> dict[str, Job]:
    """The jobs of the categories without a result, by category."""
    done = {line["category"] for line in run.folder.results()}
    return {
        category: functools.partial(
            run_category,
            run.settings,
            category,
            shots,
            folder=run.folder.path / category,
            should_stop=should_stop,
        )
        for category, shots in run.shots.items()
        if category not in done
    }
