"""One-line messages for a user's mistakes, tracebacks for defects of the project."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from datasets.progress import last_line, warnings_above_bars
from datasets.stopping import INTERRUPTED, stopping

USAGE_ERROR = 2
_PIPE_CLOSED = 128 + signal.SIGPIPE
_PROJECT = Path(__file__).resolve().parent.parent
_PACKAGES = tuple(
    f"{_PROJECT / name}/"
    for name in ("agm_torch", "datasets", "experiments", "lfq_jax")
)


def is_users_mistake(error: BaseException) -> bool:
    """Whether the project itself refused an input, or the system a file or memory.

    A `ValueError` raised in this project's code is an input check, with a message
    written for the user. A `ValueError` raised in another library is a defect of this
    project and keeps its traceback. An error raised in C code counts as raised by its
    caller, because C code has no traceback entry. Examples are `zip(strict=True)`,
    `list.index`, and shapes that numpy cannot broadcast.
    """
    if isinstance(error, OSError | MemoryError):
        return True
    if not isinstance(error, ValueError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGES)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """What every command runs in: its mistakes, warnings and signals.

    A user's mistake is printed as one line, `error: ...` on stderr, and the exit status
    is 2. Ctrl-C or SIGTERM prints `stopped`, with status 130, within seconds (see
    `datasets.stopping`). Warnings are lines above the progress bars. The line of an
    error is never in the same line as a bar.
    """
    with stopping(), warnings_above_bars():
        try:
            yield
            sys.stdout.flush()  # a full disk refuses here, not when Python ends
        except KeyboardInterrupt:
            last_line("stopped")
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            _discard_output()
            raise SystemExit(_PIPE_CLOSED) from None
        except (ValueError, OSError, MemoryError) as error:
            if not is_users_mistake(error):
                raise
            last_line(f"error: {str(error) or 'not enough memory'}")
            _discard_unless_writable()
            raise SystemExit(USAGE_ERROR) from None


def _discard_unless_writable() -> None:
    """Discard what stdout cannot take, which Python would report with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Send the rest of stdout, which its reader or disk refuses, to nowhere."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
