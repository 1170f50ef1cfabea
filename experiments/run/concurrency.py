"""Several categories at the same time, each in its own thread.

jax releases Python's lock while it computes, so one category's training uses the time
in which another one waits. The threads share compiled programs and nothing else.
"""

import importlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

IMPORT_BEFORE_THREADS = (
    "datasets",
    "experiments.report.code_report",
    "experiments.measure.curves_file",
    "experiments.few_shot.backbone_option",
    "experiments.measure.category_metrics",
    "experiments.report.pictures",
    "experiments.run.anomaly_process",
    "lfq_jax.inference.predictor",
    "lfq_jax.inference.detector_files",
    "lfq_jax.training.fit",
    "lfq_jax.training.loop",
    "matplotlib.backends.backend_agg",
)
"""Modules that a category needs. They are imported before any thread starts: two
threads must not begin to import modules that import each other."""

_THREAD = "at once: "
Line = dict[str, Any]
Job = Callable[[], Line]


class _Ended(NamedTuple):
    name: str
    line: Line | None
    error: BaseException | None


def run_concurrently(
    jobs: Mapping[str, Job], *, at_once: int, should_stop: Callable[[], bool]
) -> Iterator[tuple[str, Line]]:
    """Run the jobs, at most `at_once` at the same time, and yield each one's result.

    Jobs start in their order, and each result is yielded with its name when the job is
    finished. After an error no further job starts, but those that run are finished and
    yielded: nothing is lost that would have been kept one by one.

    Args:
      jobs: one per category, by name. A job stops by raising `KeyboardInterrupt`.
      should_stop: once it returns true, no further job starts. Jobs call it themselves.

    Raises:
      KeyboardInterrupt: jobs were stopped, or not started.
      Exception: the error of the first job, in the order of `jobs`, that failed.
    """
    from datasets.progress import write_line

    if at_once == 1:
        yield from _run_one_by_one(jobs, should_stop)
        return
    for module in IMPORT_BEFORE_THREADS:
        importlib.import_module(module)
    ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
    waiting, running = list(jobs), set[str]()
    errors: dict[str, BaseException] = {}
    while True:
        while waiting and len(running) < at_once and not errors and not should_stop():
            running.add(waiting[0])
            _start(waiting[0], jobs[waiting.pop(0)], ended)
        if not running:
            break
        name, line, error = ended.get()
        running.remove(name)
        if line is not None:
            _report_finished(name, len(waiting) + len(running), len(jobs))
            yield name, line
        if error is not None:
            errors[name] = error
            if running and not isinstance(error, KeyboardInterrupt):
                others = ", ".join(sorted(running))
                write_line(f"{name}: failed; still running, finished first: {others}")
    _raise_first([errors[name] for name in jobs if name in errors])
    if waiting:
        raise KeyboardInterrupt


def _run_one_by_one(
    jobs: Mapping[str, Job], should_stop: Callable[[], bool]
) -> Iterator[tuple[str, Line]]:
    """Run the jobs in the caller's thread."""
    for number, (name, job) in enumerate(jobs.items(), 1):
        if should_stop():
            raise KeyboardInterrupt
        line = job()
        _report_finished(name, len(jobs) - number, len(jobs))
        yield name, line


def _start(name: str, job: Job, ended: "queue.SimpleQueue[_Ended]") -> None:
    """Run a job in a new thread, which puts the result or the error into `ended`."""

    def work() -> None:
        try:
            ended.put(_Ended(name, job(), None))
        except BaseException as error:  # raised in the main thread
            ended.put(_Ended(name, None, error))

    # A daemon: Python does not wait for it if a second Ctrl-C ends the run.
    threading.Thread(target=work, name=_THREAD + name, daemon=True).start()


def exit_with_threads(status: int) -> None:
    """End this process at once if categories still run, after a second Ctrl-C.

    Python's own exit would clear the modules that the threads use, and they would fail
    with tracebacks. No file is damaged: files are complete at any moment.
    """
    if any(thread.name.startswith(_THREAD) for thread in threading.enumerate()):
        for stream in {sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__}:
            if stream is not None:
                stream.flush()
        os._exit(status)


def _raise_first(errors: list[BaseException]) -> None:
    """Raise the first error; a `KeyboardInterrupt` only if there is no other error."""
    errors.sort(key=lambda error: isinstance(error, KeyboardInterrupt))
    if errors:
        raise errors[0]


def _report_finished(name: str, left: int, jobs: int) -> None:
    from datasets.progress import write_line

    write_line(f"{name}: finished, {left} of {jobs} categories left")


def shows_bars(at_once: int) -> bool:
    """Whether to draw progress bars.

    The bars of several categories move the cursor up and down. In a file that would be
    noise, so they are drawn on a terminal only.
    """
    return at_once == 1 or sys.stderr.isatty()
