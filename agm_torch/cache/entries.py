"""The folders of the cache, and whether they are whole."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agm_torch.cache.layout import PARTIAL
from datasets.shards import MANIFEST, read_manifest, verify_shards

_KEY = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True)
class Entry:
    """A folder of the cache."""

    folder: Path
    size: int
    """Bytes on disk."""
    used: float
    """Time of the last opening or writing, in seconds since 1970."""
    manifest: dict[str, Any] | None
    """None for an unfinished or unreadable folder."""

    @property
    def is_partial(self) -> bool:
        return self.folder.name.endswith(PARTIAL)

    @property
    def state(self) -> str:
        if self.is_partial:
            return "unfinished"
        return "whole" if self.manifest else "unreadable"


def entries(cache: Path) -> list[Entry]:
    """All folders of the cache, the most recently used first."""
    if not cache.is_dir():
        return []
    folders = (p for p in cache.iterdir() if p.is_dir() and _is_entry(p))
    found = (entry for entry in map(_entry, folders) if entry)
    return sorted(found, key=lambda entry: -entry.used)


def verify(cache: Path) -> dict[str, str]:
    """What is wrong with every whole folder, by its name; empty where nothing is.

    Reads all files again.
    """
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


def _is_entry(folder: Path) -> bool:
    """Whether a folder is an entry. Other folders may be beside the entries."""
    if not _KEY.fullmatch(folder.name.removesuffix(PARTIAL)):
        return False
    return folder.name.endswith(PARTIAL) or (folder / MANIFEST).is_file()


def _entry(folder: Path) -> Entry | None:
    """Entry of a folder; None if it has just been renamed or removed."""
    try:
        stats = [entry.stat() for entry in _files(folder)]
        used = max((stat.st_mtime for stat in stats), default=folder.stat().st_mtime)
    except FileNotFoundError:
        return None
    manifest = None
    if not folder.name.endswith(PARTIAL):
        with contextlib.suppress(ValueError, OSError):
            manifest = read_manifest(folder)
    return Entry(folder, sum(stat.st_size for stat in stats), used, manifest)


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder, without the temporary files of a writer."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))
