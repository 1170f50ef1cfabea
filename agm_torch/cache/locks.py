"""One process at a time fills a folder of the cache; the others wait."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from agm_torch.cache.layout import LOCK
from datasets.lock import locked_file


@contextlib.contextmanager
def locked(
    folder: Path,
    *,
    on_wait: Callable[[str], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Hold the lock of `folder`; waits while another process fills it.

    Args:
      on_wait: called once, before the wait, with a description of the owner.
      should_stop: ends the wait where it returns true.

    Yields:
      True to go on, False where `should_stop` ended the wait.
    """
    path = folder.with_name(folder.name + LOCK)
    with locked_file(path, on_wait=on_wait, should_stop=should_stop) as lock:
        yield lock is not None or not should_stop()
