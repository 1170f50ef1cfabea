"""What a reader of files had to decide or leave out, reported once for each kind."""

import functools
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from datasets.file_names import one_line, printable

log = logging.getLogger(__name__)
_SHOWN = 3


def counted(items: Collection[object], one: str, several: str | None = None) -> str:
    """The number of items with their name, e.g. `3 files`."""
    return f"{len(items)} {one if len(items) == 1 else several or one + 's'}"


def named(items: Sequence[object], *, most: int = _SHOWN) -> str:
    """The first items, separated by commas."""
    shown = (printable(str(item)) for item in items[:most])
    return ", ".join(shown) + (", ..." * (len(items) > most))


class Remarks:
    """Collects remarks on files. Several threads may add to it.

    Args:
      tell: called with the first remark of each kind, as soon as it is made.
    """

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self._tell = tell
        self._first: dict[str, str] = {}
        self._files: dict[str, dict[Path | None, None]] = {}
        self._lock = threading.Lock()

    def add(self, kind: str, path: Path | None, text: str) -> None:
        """Note a decision, or what is left out.

        Args:
          kind: remarks of one kind are reported once.
          path: the file that it concerns; None for an array.
          text: a sentence whose subject is the file, e.g. `is in colour: ...`.
        """
        line = one_line(f"{path or 'an image'} {text}")
        with self._lock:
            is_first = kind not in self._first
            self._first.setdefault(kind, line)
            self._files.setdefault(kind, {})[path] = None
        if is_first and self._tell:
            self._tell(line)

    def lines(self) -> list[str]:
        """One line for each kind: its first remark, and which other files have it."""
        with self._lock:
            return [
                self._first[kind] + _others([*files])
                for kind, files in self._files.items()
            ]


def _others(files: Sequence[Path | None]) -> str:
    """The number of files after the first, and the names of two."""
    first, *others = files
    if not others:
        return ""
    names = named([_below(path, first) for path in others], most=_SHOWN - 1)
    return f" ({counted(others, 'other')} likewise: {one_line(names)})"


def _below(path: Path | None, first: Path | None) -> str:
    """The path below the folder of the first file, if it lies there."""
    if path and first and path.is_relative_to(first.parent):
        return str(path.relative_to(first.parent))
    return str(path or "an image")


@functools.cache
def warn_once(line: str) -> None:
    """Log a warning, unless this process has logged the same line before."""
    log.warning("%s", one_line(line))
