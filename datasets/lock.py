"""A lock that lets one process at a time fill a folder.

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
def locked_folder(folder: Path, *, leftovers: str) -> Iterator[None]:
    """Hold the lock on `folder`, waiting for another process that holds it.

    Incomplete folders that killed processes left in `folder` are removed first.

    Args:
      leftovers: glob pattern of the incomplete folders' names.

    Raises:
      OSError: `folder` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if _acquire(file, folder):
            for leftover in folder.glob(leftovers):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
        yield


def _acquire(file: IO[str], folder: Path) -> bool:
    """Wait for the file's system lock; return False if the disk has no locks.

    The system releases the lock when its owner ends, even if the owner is killed.
    Without locks nothing is known about other processes.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("waiting for another process that is filling %s", folder)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
