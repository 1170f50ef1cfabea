"""The shard cache: one maker a key, whole folders checked, the oldest evicted."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.shards import MANIFEST, read_manifest, verify_shards

_POLL_SECONDS = 0.2
_KEY = re.compile(r"[0-9a-f]{20}")
_PARTIAL, _LOCK, _REMOVED = ".partial", ".lock", ".removed-"


@dataclass(frozen=True)
class Entry:
    """One folder of the cache."""

    folder: Path
    size: int
    """Bytes on disk."""
    used: float
    """When it was opened or written last, seconds since 1970."""
    manifest: dict[str, Any] | None
    """None where it is unfinished or unreadable."""

    @property
    def is_partial(self) -> bool:
        return self.folder.name.endswith(_PARTIAL)

    @property
    def state(self) -> str:
        if self.is_partial:
            return "unfinished"
        return "whole" if self.manifest else "unreadable"


@contextlib.contextmanager
def locked(
    folder: Path,
    *,
    on_wait: Callable[[str], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Be the only process that fills `folder`; wait for another one to end.

    The lock is the system's own (flock): it falls with its owner, however that dies.
    The file beside it names owner and age for those who wait.

    Yields:
      True with the lock, False where `should_stop` ended the wait.
    """
    path = folder.with_name(folder.name + _LOCK)
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


def entries(cache: Path) -> list[Entry]:
    """All folders of the cache, the one used last first."""
    if not cache.is_dir():
        return []
    folders = (p for p in cache.iterdir() if p.is_dir() and _is_entry(p))
    found = (entry for entry in map(_entry, folders) if entry)
    return sorted(found, key=lambda entry: -entry.used)


def verify(cache: Path) -> dict[str, str]:
    """Read every whole folder again: its name, and what is wrong, if anything."""
    found = {}
    for entry in entries(cache):
        if entry.is_partial:
            continue
        try:
            verify_shards(entry.folder, again=True)
            found[entry.folder.name] = ""
        except (ValueError, OSError) as error:
            found[entry.folder.name] = str(error)
    return found


def prune(
    cache: Path, *, max_bytes: int, keep: Path | None = None, dry_run: bool = False
) -> list[Entry]:
    """Remove the folders used longest ago until the rest fits, never one in use.

    Args:
      keep: a folder that stays, whatever the limit: somebody is about to open it.

    Returns:
      What was removed, or would be.
    """
    if not dry_run:
        for leftover in cache.glob(f"{_REMOVED}*"):  # a removal that was killed
            shutil.rmtree(leftover, ignore_errors=True)
    kept, removed = 0, []
    for entry in entries(cache):
        kept += entry.size
        if entry.folder == keep or kept <= max_bytes:
            continue
        if _may_go(entry) if dry_run else _removed(entry):
            removed.append(entry)
            kept -= entry.size
    return removed


def remove_damaged(cache: Path, damaged: list[str]) -> None:
    """Remove folders that `verify` found damaged; the next request makes them again."""
    for entry in entries(cache):
        if entry.folder.name in damaged:
            _removed(entry)


def _acquired(
    path: Path, on_wait: Callable[[str], None], should_stop: Callable[[], bool]
) -> int | None:
    told = False
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
            if not told:
                on_wait(_owner(path))
                told = True
            time.sleep(_POLL_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
        return f"process {owner['pid']} on {owner['host']}, for {age:.0f} s"
    except (OSError, ValueError, KeyError):
        return "another process"


def _is_entry(folder: Path) -> bool:
    """Whether a folder is one of ours: others may keep theirs beside it."""
    if not _KEY.fullmatch(folder.name.removesuffix(_PARTIAL)):
        return False
    return folder.name.endswith(_PARTIAL) or (folder / MANIFEST).is_file()


def _entry(folder: Path) -> Entry | None:
    """What is known of a folder; None where it has just been renamed or removed."""
    try:
        stats = [entry.stat() for entry in _files(folder)]
        used = max((stat.st_mtime for stat in stats), default=folder.stat().st_mtime)
    except FileNotFoundError:
        return None
    manifest = None
    if not folder.name.endswith(_PARTIAL):
        with contextlib.suppress(ValueError, OSError):
            manifest = read_manifest(folder)
    return Entry(folder, sum(stat.st_size for stat in stats), used, manifest)


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder, but for those that a writer renames meanwhile."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _may_go(entry: Entry) -> bool:
    """Whether nobody reads or fills a folder at the moment."""
    guard = _guard(entry)
    if not guard.exists():
        return True
    with guard.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _guard(entry: Entry) -> Path:
    """The file whose lock says that a folder is in use."""
    if not entry.is_partial:
        return entry.folder / MANIFEST
    name = entry.folder.name.removesuffix(_PARTIAL)
    return entry.folder.with_name(name + _LOCK)


def _removed(entry: Entry) -> bool:
    """Remove a folder unless somebody reads or fills it; whether it was."""
    guard = _guard(entry)
    try:
        descriptor = os.open(guard, os.O_RDWR | (os.O_CREAT * entry.is_partial))
    except FileNotFoundError:  # somebody else was faster
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # renamed first: nobody ever sees half a folder under its own name
        away = entry.folder.with_name(f"{_REMOVED}{uuid.uuid4().hex}")
        try:
            entry.folder.rename(away)
        except FileNotFoundError:  # it was finished, or removed, meanwhile
            was_there = False
        else:
            was_there = True
            shutil.rmtree(away)
        if entry.is_partial:
            guard.unlink(missing_ok=True)
        return was_there
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
