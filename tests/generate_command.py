"""The command `python -m agm_torch`, run in the test's own process."""

import contextlib
import io
import signal
import subprocess
import sys

import pytest

from agm_torch.__main__ import main


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Exit status and output of a command line, without a new process.

    A new process would import libraries for seconds.

    Args:
      arguments: `[python, "-m", "agm_torch", ...]`.
    """
    output, errors = io.StringIO(), io.StringIO()
    handlers = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", arguments[2:])
        try:
            status = main()
        except SystemExit as stopped:
            assert isinstance(stopped.code, int)
            status = stopped.code
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
    return subprocess.CompletedProcess(
        arguments, status, output.getvalue(), errors.getvalue()
    )
