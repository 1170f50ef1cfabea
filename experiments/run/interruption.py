"""Ctrl-C and SIGTERM: a run stops so that it can be resumed."""

import contextlib
from collections.abc import Iterator

from experiments.run.concurrency import exit_with_threads


@contextlib.contextmanager
def resumable(message: str) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, print `message`, and exit with status 130.

    Args:
      message: says that the run was stopped, and how it is resumed.
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
