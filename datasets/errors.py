"""One-line messages for a user's mistakes, tracebacks for defects of the project."""

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from datasets.file_names import printable

USAGE_ERROR = 2
INTERRUPTED = 130  # the exit status that shells report after SIGINT
_PROJECT = Path(__file__).resolve().parent.parent
_PACKAGES = tuple(
    f"{_PROJECT / name}/"
    for name in ("agm_torch", "datasets", "experiments", "lfq_jax")
)


def is_users_mistake(error: BaseException) -> bool:
    """Whether the project itself refused an input, or the system refused a file.

    A `ValueError` raised in this project's code is an input check, with a message
    written for the user. A `ValueError` raised in another library is a defect of this
    project and keeps its traceback. An error raised in C code counts as raised by its
    caller, because C code has no traceback entry. Examples are `zip(strict=True)`,
    `list.index`, and shapes that numpy cannot broadcast.
    """
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGES)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a user's mistake as one line and exit with status 2.

    The line is `error: ...` on stderr. Ctrl-C prints `stopped` and exits with 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise
        # Spaces inside a line stay: they may be those of a file name.
        message = " ".join(line.strip() for line in str(error).splitlines())
        print(f"error: {printable(message)}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
