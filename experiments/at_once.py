"""Several categories at the same time, each in a thread of its own.

jax leaves Python while it computes, so that one category's training fills what another
one leaves idle. They share what one of them has compiled, and nothing else.
"""

import importlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

OF_A_CATEGORY = (
    "datasets",
    "experiments.code_report",
    "experiments.curve_file",
    "experiments.measure",
    "experiments.pictures",
    "experiments.pretrained",
    "experiments.sidecar",
    "lfq_jax.inference.predictor",
    "lfq_jax.inference.detector_files",
    "lfq_jax.training.loop",
    "matplotlib.backends.backend_agg",
)
"""Modules that a category needs. They are imported before there are threads: modules
that import each other must not be begun from two sides."""

_THREAD = "at once: "
Line = dict[str, Any]
Job = Callable[[], Line]


class _Ended(NamedTuple):
    name: str
    line: Line | None
    error: BaseException | None


def lines_of(
    jobs: Mapping[str, Job], *, at_once: int, should_stop: Callable[[], bool]
) -> Iterator[tuple[str, Line]]:
    """What the jobs give, each with its name when it is finished, of at most `at_once`
    at a time.

    They are started in their order. After an error nothing more is started, but what
    runs is finished and given: nothing is lost that would have been kept one by one.

    Args:
      jobs: what to do, a category each, by name. A job stops by raising
        `KeyboardInterrupt`.
      should_stop: after it is true nothing more is started; jobs ask it themselves.

    Raises:
      KeyboardInterrupt: where jobs were stopped, or not started.
      Exception: of the first of `jobs` that failed.
    """
    if at_once == 1:
        for number, (name, job) in enumerate(jobs.items(), 1):
            if should_stop():
                raise KeyboardInterrupt
            line = job()
            _tell_finished(name, len(jobs) - number, len(jobs))
            yield name, line
        return
    for module in OF_A_CATEGORY:
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
            _tell_finished(name, len(waiting) + len(running), len(jobs))
            yield name, line
        if error is not None:
            errors[name] = error
            if running and not isinstance(error, KeyboardInterrupt):
                others = ", ".join(sorted(running))
                tell(f"{name}: failed; what runs is finished first: {others}")
    _raise_first([errors[name] for name in jobs if name in errors])
    if waiting:
        raise KeyboardInterrupt


def _start(name: str, job: Job, ended: "queue.SimpleQueue[_Ended]") -> None:
    def work() -> None:
        try:
            ended.put(_Ended(name, job(), None))
        except BaseException as error:  # whatever it is, it is raised where it is told
            ended.put(_Ended(name, None, error))

    # A daemon: Python does not wait for it where a second Ctrl-C ends the run.
    threading.Thread(target=work, name=_THREAD + name, daemon=True).start()


def leave_running(status: int) -> None:
    """End this process where categories still run, after a second Ctrl-C.

    Python's own way out would take from them, piece by piece, what they work with, and
    they would fail with tracebacks. Files are whole at any moment.
    """
    if any(thread.name.startswith(_THREAD) for thread in threading.enumerate()):
        for stream in {sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__}:
            if stream is not None:
                stream.flush()
        os._exit(status)


def _raise_first(errors: list[BaseException]) -> None:
    """A mistake or a defect says more than that others were stopped."""
    errors.sort(key=lambda error: isinstance(error, KeyboardInterrupt))
    if errors:
        raise errors[0]


def _tell_finished(name: str, left: int, jobs: int) -> None:
    tell(f"{name}: finished, {left} of {jobs} categories left")


def tell(text: str) -> None:
    """One line on stderr, above the progress bars."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def shows_bars(at_once: int) -> bool:
    """Whether to draw progress bars: in a file, those of several categories, which move
    the cursor up and down, are noise."""
    return at_once == 1 or sys.stderr.isatty()
