"""Locks that let one process at a time write a folder or a file.

The lock is flock itself, not the library filelock: where a disk has no flock, filelock
falls back to a marker file that outlives its owner, it has no shared locks, with which
readers keep a folder from being pruned, and the base install lacks it.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from datasets.file_names import printable

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def locked_folder(folder: Path, *, leftovers: str) -> Iterator[None]:
    """Hold the lock on `folder`, waiting for another process that holds it.

    Incomplete folders that killed processes left in `folder` are removed first.

    Args:
      leftovers: glob pattern of the incomplete folders' names.

    Raises:
      OSError: `folder` cannot be written.
    """
    with locked_file(folder / ".lock", what=f"is filling {folder}") as lock:
        if lock is not None:  # else nothing is known about other processes
            for leftover in folder.glob(leftovers):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextlib.contextmanager
def locked_file(
    path: Path,
    *,
    what: str = "",
    on_wait: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[int | None]:
    """Hold the lock `path`; waits while another process holds it.

    The system releases the lock when its owner ends or is killed, so the next process
    takes it over. The lock file names the owner; its age says for how long. It is
    removed when the lock is released.

    Args:
      path: the lock file. Its folder is created.
      what: what the owner does, for the message of a process that waits.
      on_wait: called once, before the wait, with a description of the owner. Default:
        log a warning.
      should_stop: ends the wait where it returns true.

    Yields:
      The descriptor of the lock file. None if the disk has no locks, or `should_stop`
      ended the wait.

    Raises:
      OSError: the lock file cannot be written.
    """

    def warn(owner: str) -> None:
        log.warning("waiting for %s, which %s", owner, printable(what))

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquired(path, on_wait or warn, should_stop)
    if descriptor is None:
        yield None
        return
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):  # the folder was removed or made read-only
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(
    path: Path, on_wait: Callable[[str], None], should_stop: Callable[[], bool]
) -> int | None:
    """Descriptor of the locked file; None without a lock, see `locked_file`."""
    has_waited = False
    while not should_stop():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                _write_owner(descriptor)
                return descriptor
        except BlockingIOError:
            if not has_waited:
                on_wait(owner_of(path))
                has_waited = True
            time.sleep(_POLL_SECONDS)
        except OSError:  # this disk has no locks
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def _write_owner(descriptor: int) -> None:
    """Write this process into its lock file, for the messages of others.

    The lock holds without it, so a full disk does not matter here.
    """
    owner = {"pid": os.getpid(), "host": socket.gethostname()}
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def owner_of(path: Path) -> str:
    """Description of the process that holds a lock."""
    try:
        owner = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
        return f"process {owner['pid']} on {owner['host']}, for {age:.0f} s"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
