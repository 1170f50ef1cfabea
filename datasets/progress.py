"""Progress bars on a terminal, a few lines elsewhere, and lines that never touch a bar.

Without a terminal, as in a log file, a bar would fill the file with carriage returns.
There each stage prints one line at its start, and then one every ten seconds at most.
"""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TextIO

from tqdm import tqdm

from datasets.file_names import one_line

LINE_SECONDS = 10.0
"""Least time between two lines of a stage, where there is no terminal."""
_LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed}{postfix}"
_COUNT = "{desc}: {n_fmt}, {elapsed}{postfix}"
_NOISY_LOGGERS = ("absl", "orbax")
"""Loggers of libraries that warn about their own work, for example Orbax's "Waiting for
previous save to complete". What fails is raised as well."""

_ONCE = "Error writing persistent compilation cache entry"
"""Beginning of a warning that jax repeats for every program, if the disk is full."""
_shown: set[str] = set()


class Bar(tqdm):
    """A progress bar on a terminal, lines elsewhere; takes the arguments of `tqdm`.

    The bar disappears at its end.
    """

    def __init__(
        self, iterable: Iterable[Any] | None = None, desc: str = "", **options: Any
    ) -> None:
        self.line_format: str | None = None
        options = {"leave": False, "unit": "", **options}
        if not is_terminal(sys.stderr):
            self.line_format = _LINE
            has_total = isinstance(iterable, Sized) or options.get("total") is not None
            options = {"bar_format": _LINE if has_total else _COUNT, **options}
            options |= {"file": _Lines(sys.stderr), "mininterval": LINE_SECONDS}
            options |= {"maxinterval": LINE_SECONDS, "dynamic_ncols": False}
        super().__init__(iterable, desc, **options)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at `stream` as it is written."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


class _Lines(io.TextIOBase):
    """Turns what tqdm draws into lines; text that only clears a bar is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        if line:
            self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def write_line(text: str) -> None:
    """Write one line to stderr, above the progress bars; see `one_line`."""
    tqdm.write(one_line(text), file=sys.stderr)


def last_line(text: str) -> None:
    """Close all progress bars, then write one line to stderr; see `one_line`."""
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()
    print(one_line(text), file=sys.stderr, flush=True)


class _LogLines(logging.Handler):
    """Shows warnings of this project, each as one line above the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(ValueError):  # stderr is closed
            write_line(f"warning: {record.getMessage()}")


@contextlib.contextmanager
def warnings_above_bars() -> Iterator[None]:
    """Show warnings, logged or raised, as lines above the bars, and silence libraries.

    Handlers of the root logger that write to a stream are put aside for the time of the
    block: they would write into the middle of a bar.
    """
    root, shown = logging.getLogger(), _LogLines(logging.WARNING)
    aside = [handler for handler in root.handlers if _writes_to_console(handler)]
    levels = {name: logging.getLogger(name).level for name in _NOISY_LOGGERS}
    for handler in aside:
        root.removeHandler(handler)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    root.addHandler(shown)
    show = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        yield
    finally:
        warnings.showwarning = show
        root.removeHandler(shown)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for handler in aside:
            root.addHandler(handler)


def _writes_to_console(handler: logging.Handler) -> bool:
    """Whether a handler is one of absl's or a plain one that writes to a stream."""
    is_stream = isinstance(handler, logging.StreamHandler)
    is_file = isinstance(handler, logging.FileHandler)
    has_stream = getattr(handler, "stream", None) in (sys.stderr, sys.stdout)
    return (is_stream and not is_file and has_stream) or (
        type(handler).__module__.startswith("absl.")
    )


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as one line; of a full compile cache only the first one."""
    text = one_line(str(message))
    if text.startswith(_ONCE):
        if _ONCE in _shown:
            return
        _shown.add(_ONCE)
    write_line(f"warning: {text}")
