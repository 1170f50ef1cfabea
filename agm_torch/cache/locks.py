"""One process at a time fills a folder of the cache; the others wait.

The lock is flock itself, not the library filelock: where a disk has no flock, filelock
falls back to a marker file that outlives its owner, it has no shared locks, with which
readers keep a folder from being pruned, and the base install lacks it.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agm_torch.cache.layout import LOCK

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def locked(
    folder: Path,
    *,
    on_wait: Callable[[str], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Hold the lock of `folder`; waits while another process fills it.

    The system releases the lock when its owner ends or is killed. The lock file names
    the owner; its age says for how long.

    Args:
      on_wait: called once, before the wait, with a description of the owner.
      should_stop: ends the wait where it returns true.

    Yields:
      True with the lock, False where `should_stop` ended the wait.
    """
    path = folder.with_name(folder.name + LOCK)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquired(path, on_wait, should_stop)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(
    path: Path, on_wait: Callable[[str], None], should_stop: Callable[[], bool]
) -> int | None:
    """Descriptor of the locked file, None where `should_stop` ended the wait."""
    has_waited = False
    while not should_stop():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                owner = {"pid": os.getpid(), "host": socket.gethostname()}
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(owner).encode(), 0)
                return descriptor
        except BlockingIOError:
            if not has_waited:
                on_wait(_owner(path))
                has_waited = True
            time.sleep(_POLL_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def _owner(path: Path) -> str:
    """Description of the process that holds a lock."""
    try:
        owner = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
        return f"process {owner['pid']} on {owner['host']}, for {age:.0f} s"
    except (OSError, ValueError, KeyError):
        return "another process"
