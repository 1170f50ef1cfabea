"""Environments that containers and services have: no home, no locale, a nameless user.

As a program, `python stripped.py COMMAND ...` prints one JSON object: the length of
every command's `--help` for a user whom the system does not know.
"""

import contextlib
import io
import json
import os
import pwd
import runpy
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


def bare_environment(**variables: str) -> dict[str, str]:
    """Nothing but a search path, the C locale, and `variables`."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "PYTHONPATH": str(PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_PLATFORMS": "cpu",
    } | variables


def as_nameless_user() -> list[str]:
    """The beginning of a command line for a user id that has no name; root only."""
    program = shutil.which("setpriv")
    if os.getuid() or not program:
        return []
    return [program, "--reuid=54321", "--regid=54321", "--clear-groups"]


def _unknown(uid: int) -> Any:
    raise KeyError(uid)


def _help_length(command: str) -> int:
    words = command.split()
    sys.argv = [*words, "--help"]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return 0 if end.code else len(out.getvalue())
    return 0


if __name__ == "__main__":
    pwd.getpwuid = _unknown
    warnings.simplefilter("ignore", RuntimeWarning)  # of modules that are run again
    print(json.dumps({command: _help_length(command) for command in sys.argv[1:]}))
