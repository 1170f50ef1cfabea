"""What a reader of files had to decide, reported once for each kind of decision."""

import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


class Remarks:
    """Collects remarks on files. Several threads may add to it.

    Args:
      tell: called with the first remark of each kind, as soon as it is made.
    """

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self._tell = tell
        self._first: dict[str, str] = {}
        self._files: dict[str, set[Path | None]] = {}
        self._lock = threading.Lock()

    def add(self, kind: str, path: Path | None, text: str) -> None:
        """Note a decision.

        Args:
          kind: remarks of one kind are reported once.
          path: the file that it concerns; None for an array.
          text: a sentence whose subject is the file, e.g. `is in colour: ...`.
        """
        line = f"{path or 'an image'} {text}"
        with self._lock:
            is_first = kind not in self._first
            self._first.setdefault(kind, line)
            self._files.setdefault(kind, set()).add(path)
        if is_first and self._tell:
            self._tell(line)

    def lines(self) -> list[str]:
        """One line for each kind: its first remark, and the number of other files."""
        with self._lock:
            found = {kind: len(files) - 1 for kind, files in self._files.items()}
            return [self._first[kind] + _others(more) for kind, more in found.items()]


def _others(count: int) -> str:
    if not count:
        return ""
    return f" ({count} other file{'s' * (count > 1)} likewise)"


@functools.cache
def warn_once(line: str) -> None:
    """Log a warning, unless this process has logged the same line before."""
    log.warning("%s", line)
