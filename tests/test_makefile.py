"""make on a machine that lacks something."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
WITHOUT_ENSUREPIP = """#!/bin/sh
[ "$1" = -m ] || exit 0
mkdir -p "$3/bin" && ln -sf /bin/sh "$3/bin/python"
exit 1
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_that_could_not_be_made_is_made_again(tmp_path: Path):
    shutil.copy(PROJECT / "Makefile", tmp_path)
    python = tmp_path / "python"
    python.write_text(WITHOUT_ENSUREPIP)
    python.chmod(0o755)
    done = subprocess.run(
        ["make", f"PYTHON={python}", ".venv/bin/python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert not (tmp_path / ".venv/bin/python").exists()
