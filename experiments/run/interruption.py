"""Ctrl-C and SIGTERM: a run stops so that it can be resumed."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.run.concurrency import exit_with_threads

INTERRUPTED = 130  # exit status, as shells give it for SIGINT


@contextlib.contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Catch the first Ctrl-C or SIGTERM, so that the state can be saved.

    Yields a function that returns whether to stop. A second Ctrl-C stops at once.
    """
    is_asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal is_asked
        if is_asked:
            raise KeyboardInterrupt
        is_asked = True
        print("\nstopping after this step; again to stop at once", file=sys.stderr)

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: is_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def resumable(command: str, folder: Path) -> Iterator[None]:
    """After Ctrl-C, print the command that resumes the run in `folder`, and exit."""
    try:
        yield
    except KeyboardInterrupt:
        from datasets.file_names import shell_line

        resume = f"{command} {shell_line('--resume', folder)}"
        print(f"stopped; resume with: {resume}", file=sys.stderr)
        exit_with_threads(INTERRUPTED)
        raise SystemExit(INTERRUPTED) from None
