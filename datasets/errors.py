"""One clear line for a user's mistake, a traceback for ours."""

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

USAGE_ERROR = 2
INTERRUPTED = 130  # as a shell gives it for SIGINT
_PROJECT = Path(__file__).resolve().parent.parent
_PACKAGES = tuple(
    f"{_PROJECT / name}/"
    for name in ("agm_torch", "datasets", "experiments", "lfq_jax")
)


def is_users_mistake(error: BaseException) -> bool:
    """Whether the project itself refused an input, or the system refused a file.

    A `ValueError` raised by a line of this project is a check at the boundary, with
    a message written for the user. One raised by a line of another library is a defect
    of ours and keeps its traceback. What C code raises has no line of its own, and
    counts as raised where it was called: `zip(strict=True)`, `list.index`, shapes that
    numpy cannot broadcast.
    """
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGES)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a user's mistake into `error: ...` on stderr and exit status 2, and Ctrl-C
    into `stopped` and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
