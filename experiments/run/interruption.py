"""Ctrl-C and SIGTERM: a run stops so that it can be resumed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from experiments.run.concurrency import exit_with_threads


def stopped(command: str, folder: Path, *flags: str) -> str:
    """Say that a run was stopped, with a command to paste that resumes it.

    Args:
      command: as in `python -m experiments.few_shot`.
      folder: the run's folder.
      flags: further flags of the command.
    """
    from datasets.file_names import shell_line

    return f"stopped; resume with: {command} {shell_line('--resume', folder, *flags)}"


@contextlib.contextmanager
def resumable(message: str) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, print `message`, and exit with status 130.

    Args:
      message: says that the run was stopped, and how it is resumed; see `stopped`.
    """
    from datasets.progress import last_line
    from datasets.stopping import INTERRUPTED, last_words

    with last_words(message):
        try:
            yield
        except KeyboardInterrupt:
            last_line(message)
            exit_with_threads(INTERRUPTED)
            raise SystemExit(INTERRUPTED) from None
