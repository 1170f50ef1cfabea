"""One process at a time fills a folder, and removes what killed processes left there.

The lock is flock itself, not the library filelock: where a disk has no flock, filelock
falls back to a marker file that outlives its owner, and the base install lacks it.
"""

import contextlib
import fcntl
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone_in(folder: Path, *, leftovers: str) -> Iterator[None]:
    """Hold the lock of `folder`; waits while another process fills it.

    Nobody fills a folder that matches `leftovers` then, so it is removed.

    Args:
      leftovers: pattern of the names of unfinished folders.

    Raises:
      OSError: `folder` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if _locked(file, folder):
            for leftover in folder.glob(leftovers):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
        yield


def _locked(file: IO[str], folder: Path) -> bool:
    """Wait for the lock. The system releases it when its owner ends or is killed.

    False on a disk without locks, where other processes cannot be noticed.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("waiting for another process that fills %s", folder)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
