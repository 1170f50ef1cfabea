"""A disk that fills up under a command: one line, and nothing is lost.

The disk is a tmpfs, which only root can mount. tests/datasets/test_files.py has the
same for the functions that write, without a disk.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from experiments import calibrate, export
from experiments.few_shot import __main__ as few_shot
from experiments.predict import __main__ as predict
from tests import tiny_detector
from tests.run_contents import contents
from tests.tiny_run import TINY, elsewhere, parts

__all__ = ["elsewhere", "parts"]  # fixtures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root"),
]
_WHOLE = "64m"


class Disk:
    """A small disk at `path`, whose size can be changed."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self._mount("size=64k", "-t", "tmpfs", "tmpfs")

    def resize(self, size: str) -> None:
        self._mount(f"remount,size={size}")

    def close(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True)

    def _mount(self, options: str, *what: str) -> None:
        done = subprocess.run(["mount", "-o", options, *what, str(self.path)])
        if done.returncode:
            pytest.skip("this machine does not allow to mount a tmpfs")


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    small = Disk(tmp_path / "disk")
    yield small
    small.close()


def refused(capsys, main, arguments: Sequence[str]) -> bool:
    """Whether the command ended with one line about the full disk."""
    try:
        main(list(arguments))
    except SystemExit as ended:
        assert ended.code == 2
        said = capsys.readouterr().err.splitlines()
        errors = [line for line in said if line.startswith("error: ")]
        assert errors == said[-1:] and "No space left on device" in errors[0], said
        return True
    capsys.readouterr()
    return False


def test_a_run_on_a_disk_that_fills_up_resumes_with_the_same_bytes(
    capsys, disk, parts, tmp_path
):
    run, data = disk.path / "run", ("--dataset", "folder", "--data-dir", str(parts))
    flags = [*data, *TINY, "--categories", "ring"]
    few_shot.main([*flags, "--out", str(tmp_path / "whole")])
    flags += ["--cache-dir", str(disk.path / "cache")]
    failures = 0
    for size in ("8k", "64k", "200k", "400k", "700k", "1m", "1500k", _WHOLE):
        disk.resize(size)
        has_run = (run / "config.json").is_file()
        resume = ["--resume", str(run), *flags[-2:]]
        arguments = resume if has_run else [*flags, "--out", str(run)]
        if not refused(capsys, few_shot.main, arguments):
            break
        failures += 1
    assert failures > 3
    found, expected = contents(run), contents(tmp_path / "whole")
    for each in (found, expected):
        del each["config.json"]  # has the cache's folder
    assert found == expected


@pytest.mark.parametrize("name", ["predict", "calibrate", "export"])
def test_other_commands_end_in_one_line_and_work_again_afterwards(
    capsys, disk, parts, tmp_path, name
):
    good = str(parts / "ring" / "test" / "good")
    disk.resize(_WHOLE)
    run, out = tiny_detector.write_run(disk.path / "run", "ring"), disk.path / "out"
    main, arguments = {
        "predict": (predict.main, ["--images", good, "--maps", "npy"]),
        "calibrate": (calibrate.main, ["--good", good]),
        "export": (export.main, ["--format", "safetensors"]),
    }[name]
    arguments += ["--run", str(run)]
    arguments += [] if name == "calibrate" else ["--out", str(out)]
    before = contents(run)
    filler = disk.path / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1 << 12))
    assert refused(capsys, main, arguments)
    assert contents(run) == before and not out.exists()
    filler.unlink()
    assert not refused(capsys, main, arguments)
    if name == "calibrate":
        assert contents(run) != before
    else:
        assert contents(out)
