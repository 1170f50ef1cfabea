"""Commands run where little is there: no home, no extras, another working directory."""

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.stripped import PROJECT, as_nameless_user, bare_environment
from tests.tiny_detector import part, write_run

COMMANDS = runpy.run_path(str(PROJECT / "docs" / "hooks" / "cli_page.py"))["COMMANDS"]


def run(
    *words: object,
    folder: Path,
    variables: dict[str, str] | None = None,
    start: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """A program in `folder`, in a bare environment with `variables`."""
    return subprocess.run(
        [*start, *map(str, words)],
        cwd=folder,
        env=bare_environment(**variables or {}),
        capture_output=True,
        text=True,
    )


def test_every_command_answers_help_without_home_name_and_locale(tmp_path):
    script = PROJECT / "tests" / "stripped.py"
    done = run(sys.executable, "-P", script, *COMMANDS, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lengths = json.loads(done.stdout)
    assert set(lengths) == set(COMMANDS)
    assert [command for command, length in lengths.items() if length < 300] == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone can write to. pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="lfquiad-open-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def place(open_folder) -> Path:
    """A run, photographs and maps that everyone can read and write."""
    root = open_folder / "place"
    write_run(root / "run", "plate")
    for i in range(24):
        spot = i >= 20
        name = f"data/plate/test/{'spot' if spot else 'good'}/{i:03d}.png"
        _save(part(100 + i, spot=spot), root / name)
        if spot:
            mask = np.zeros((32, 32), np.uint8)
            mask[8:16, 8:16] = 255
            _save(mask, root / f"data/plate/ground_truth/spot/{i:03d}_mask.png")
        path = root / f"maps/plate/{'spot' if spot else 'good'}/{i:03d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, part(100 + i, spot=spot)[..., 0].astype(np.float64))
    for i in range(2):
        _save(part(i), root / f"data/plate/train/good/{i:03d}.png")
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    return root


def _save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def default_commands(place: Path, out: Path) -> list[list[object]]:
    """Every command that needs no training, with its defaults; in their order."""
    trained, data = ("--run", place / "run"), place / "data"
    good = data / "plate/test/good"
    return [
        ["-m", "experiments.predict", *trained, "--images", good, "--out", out / "p"],
        ["-m", "experiments.calibrate", *trained, "--good", good],
        ["-m", "experiments.export", *trained, "--out", out / "export"],
        [out / "export/run.py", good / "000.png"],
        ["-m", "experiments.evaluate", "--maps", place / "maps", "--data-dir", data],
        [
            *("-m", "agm_torch", "generate", "--images", data / "plate/train/good"),
            *("--category", "plate", "--count", 2, "--image-px", 64),
        ],
        ["-m", "agm_torch", "cache", "list"],
        ["-m", "agm_torch", "weights", "list"],
    ]


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "no home": {},
    "home that cannot be written to": {"HOME": "/proc"},
    "ASCII": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/"},
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_defaults_run_in_a_stripped_environment(place, open_folder, environment):
    out, elsewhere, temporary = (
        open_folder / name for name in ("out", "elsewhere", "temporary")
    )
    for folder in (out, elsewhere, temporary):
        folder.mkdir()
        folder.chmod(0o777)
    variables = ENVIRONMENTS[environment] | {"TMPDIR": str(temporary)}
    start = tuple(as_nameless_user())
    for words in default_commands(place, out):
        done = run(
            sys.executable, *words, folder=elsewhere, variables=variables, start=start
        )
        told = f"{words}: {done.stderr}"
        assert done.returncode == 0, told
        assert "Traceback" not in done.stderr, told
    assert list(elsewhere.iterdir()) == [], "nothing is left in the working directory"


@pytest.mark.slow
def test_defaults_run_after_the_base_install(place, tmp_path):
    """Needs the package index: a new environment has no packages."""
    python = tmp_path / "venv/bin/python"
    cache = {"LFQUIAD_CACHE": str(tmp_path / "cache"), "HOME": os.environ["HOME"]}
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    constraints = PROJECT / "constraints.txt"
    subprocess.run([*pip, "-c", constraints, "-e", PROJECT], check=True)
    tiny = (
        *("--preset", "cpu", "--model.image-px", 64, "--train.crop-px", 48),
        *("--train.epochs", 1, "--anomalies", 8, "--validation-anomalies", 4),
        *("--dataset", "folder", "--data-dir", place / "data", "--pictures", 1),
    )
    commands: list[list[object]] = [
        ["-m", "experiments.few_shot", *tiny, "--out", tmp_path / "trained"],
        ["-m", "experiments.report", tmp_path / "trained"],
        *default_commands(place, tmp_path),
    ]
    for words in commands:
        done = run(python, *words, folder=tmp_path, variables=cache)
        assert done.returncode == 0, f"{words}: {done.stderr}"
