"""Removes folders of the cache: the least recently used, or damaged ones."""

import fcntl
import os
import shutil
import uuid
from pathlib import Path

from agm_torch.cache.entries import Entry, entries
from agm_torch.cache.layout import LOCK, PARTIAL, REMOVED
from datasets.shards import MANIFEST


def prune(
    cache: Path, *, max_bytes: int, keep: Path | None = None, dry_run: bool = False
) -> list[Entry]:
    """Remove the least recently used folders until the rest fits, never one in use.

    Args:
      max_bytes: size that the cache may keep.
      keep: a folder that stays whatever the limit is, since it is about to be opened.
      dry_run: remove nothing.

    Returns:
      The folders that were removed, or would be.
    """
    if not dry_run:
        for leftover in cache.glob(f"{REMOVED}*"):  # of a removal that was killed
            shutil.rmtree(leftover, ignore_errors=True)
    kept, removed = 0, []
    for entry in entries(cache):
        kept += entry.size
        if entry.folder == keep or kept <= max_bytes:
            continue
        if _is_unused(entry) if dry_run else _remove(entry):
            removed.append(entry)
            kept -= entry.size
    return removed


def remove_damaged(cache: Path, damaged: list[str]) -> None:
    """Remove the folders of these names. The next request makes them again."""
    for entry in entries(cache):
        if entry.folder.name in damaged:
            _remove(entry)


def _is_unused(entry: Entry) -> bool:
    """Whether no process reads or fills a folder at the moment."""
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
    """The file that is locked while a folder is in use."""
    if not entry.is_partial:
        return entry.folder / MANIFEST
    name = entry.folder.name.removesuffix(PARTIAL)
    return entry.folder.with_name(name + LOCK)


def _remove(entry: Entry) -> bool:
    """Remove a folder unless a process reads or fills it. True where it was removed."""
    guard = _guard(entry)
    try:
        descriptor = os.open(guard, os.O_RDWR | (os.O_CREAT * entry.is_partial))
    except FileNotFoundError:  # another process was faster
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # renamed first, so that no process ever sees half a folder under its name
        away = entry.folder.with_name(f"{REMOVED}{uuid.uuid4().hex}")
        try:
            entry.folder.rename(away)
        except FileNotFoundError:  # it was finished or removed in the meantime
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
