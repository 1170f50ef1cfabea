"""One process at a time fills a folder, and clears what killed ones left in it."""

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
    """Be the only process that fills `folder`; wait for another one to end.

    Whatever bears the name of a leftover is nobody's then, and is removed.

    Args:
      leftovers: pattern of the names of folders that are not whole yet.

    Raises:
      OSError: where `folder` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if _locked(file, folder):
            for leftover in folder.glob(leftovers):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
        yield


def _locked(file: IO[str], folder: Path) -> bool:
    """Wait for the system's own lock, which falls with its owner, however that dies.

    False on a disk without locks, where nothing is known of other processes.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("waiting for another process that fills %s", folder)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
