"""What a run was made with: command, versions, commit, machine."""

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")


def provenance(device: str) -> dict[str, Any]:
    """What a run was made with: command, versions, commit, machine.

    Args:
      device: what jax computes on, in words.
    """
    dirty = _git("status", "--porcelain", "--untracked-files=no")
    program = Path(sys.argv[0])  # of a package: <package>/__main__.py
    if program.name == "__main__.py":
        program = program.parent
    return {
        "command": [program.name, *sys.argv[1:]],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": _version("lfquiad"),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if dirty is None else bool(dirty),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    """The version; None if the package is not installed, as a plain checkout is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
