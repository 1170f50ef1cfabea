"""A disk that fills up under a command: one line, and nothing is lost.

The disk is a tmpfs, which only root can mount. tests/datasets/test_files.py has the
same for the functions that write, without a disk.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments import calibrate, cut_textures, export
from experiments.accuracy import __main__ as accuracy
from experiments.evaluate import __main__ as evaluate
from experiments.few_shot import __main__ as few_shot
from experiments.patchcore import __main__ as patchcore
from experiments.predict import __main__ as predict
from experiments.quantizers import __main__ as quantizers
from experiments.report import __main__ as report
from tests import fake_run, tiny_detector
from tests.experiments.quantizers.test_command import TINY as TINY_QUANTIZERS
from tests.run_contents import contents
from tests.tiny_encoder import write_squeezenet
from tests.tiny_run import TINY, elsewhere, parts, write_image

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
        # Lazily: a failed test's traceback may hold a file open.
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

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
        assert not [line for line in said if "Traceback" in line], said
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


def agm(arguments: Sequence[str]) -> None:
    """`python -m agm_torch`, in a process of its own: torch and jax never meet."""
    done = subprocess.run(
        [sys.executable, "-m", "agm_torch", *arguments], capture_output=True, text=True
    )
    print(done.stderr, end="", file=sys.stderr)
    if done.returncode:
        raise SystemExit(done.returncode)


class Place(NamedTuple):
    """What the commands read and write."""

    disk: Path
    data: Path
    """The fixture `parts`."""
    elsewhere: Path
    """A folder on another disk."""

    @property
    def good(self) -> str:
        return str(self.data / "ring" / "test" / "good")

    @property
    def run(self) -> Path:
        """A tiny detector with its run; written by the first look."""
        folder = self.disk / "run"
        return folder if folder.exists() else tiny_detector.write_run(folder, "ring")


OnDisk = tuple[Callable[[Sequence[str]], object], list[str], Path]
"""A command, its flags, and what it writes."""


def of_run(main, flags: Sequence[str], place: Place) -> OnDisk:
    out = place.disk / "out"
    return main, [*flags, "--run", str(place.run), "--out", str(out)], out


def predict_command(place: Place) -> OnDisk:
    return of_run(predict.main, ["--images", place.good, "--maps", "npy"], place)


def calibrate_command(place: Place) -> OnDisk:
    run = place.run
    return calibrate.main, ["--good", place.good, "--run", str(run)], run


def export_command(place: Place) -> OnDisk:
    return of_run(export.main, ["--format", "safetensors"], place)


def report_command(place: Place) -> OnDisk:
    run = place.disk / "run"
    fake_run.write_run(run)
    return report.main, [str(run)], run / "report.html"


def evaluate_command(place: Place) -> OnDisk:
    for path in (place.data / "ring" / "test").rglob("*.png"):
        maps = place.elsewhere / "maps" / "ring" / path.parent.name
        maps.mkdir(parents=True, exist_ok=True)
        np.save(maps / f"{path.stem}.npy", np.random.default_rng(0).random((40, 48)))
    out = place.disk / "out.json"
    flags = ["--maps", str(place.elsewhere / "maps"), "--data-dir", str(place.data)]
    return evaluate.main, [*flags, "--out", str(out)], out


def cut_textures_command(place: Place) -> OnDisk:
    noise = np.random.default_rng(0).integers(0, 255, (2, 160, 320, 3), np.uint8)
    photographs = [str(place.elsewhere / f"{name}.png") for name in "ab"]
    for path, pixels in zip(photographs, noise, strict=True):
        write_image(Path(path), pixels)
    out = place.disk / "out"
    flags = ["--photographs", *photographs, "--out", str(out), "--side-px", "64"]
    return cut_textures.main, [*flags, "--good", "1", "--defects", "1"], out


def patchcore_command(place: Place) -> OnDisk:
    weights = write_squeezenet(place.elsewhere / "weights.npz")
    out = place.disk / "out"
    data = ["--dataset", "folder", "--data-dir", str(place.data)]
    flags = ["--features", str(weights), "--image-px", "64", "--out", str(out)]
    return patchcore.main, [*data, *flags, "--categories", "ring"], out


def quantizers_command(place: Place) -> OnDisk:
    out = place.disk / "out"
    flags = [*TINY_QUANTIZERS, "--data-dir", str(place.data), "--out", str(out)]
    return quantizers.main, flags, out


def accuracy_command(place: Place) -> OnDisk:
    out = place.disk / "out"
    data = ["--leather-dir", str(place.data / "leather"), "--categories", "leather"]
    (place.data / "ring").rename(place.data / "leather")
    flags = ["--seeds", "0", "--out", str(out), "--", *TINY]
    return accuracy.main, [*data, *flags], out


def generate_command(place: Place) -> OnDisk:
    out = place.disk / "cache"
    flags = ["generate", "--images", place.good, "--category", "ring", "--count", "4"]
    return agm, [*flags, "--image-px", "64", "--cache", str(out)], out


def preview_command(place: Place) -> OnDisk:
    out = place.disk / "preview.png"
    flags = ["preview", "--images", place.good, "--category", "ring", "--count", "3"]
    return agm, [*flags, "--image-px", "64", "--out", str(out)], out


def folders_command(place: Place) -> OnDisk:
    cache = place.elsewhere / "cache"
    flags = ["generate", "--images", place.good, "--category", "ring", "--count", "4"]
    agm([*flags, "--image-px", "64", "--cache", str(cache)])
    (manifest,) = cache.rglob("manifest.json")
    out = place.disk / "out"
    return agm, ["export", "--shards", str(manifest.parent), "--out", str(out)], out


COMMANDS: dict[str, Callable[[Place], OnDisk]] = {
    "predict": predict_command,
    "calibrate": calibrate_command,
    "export": export_command,
    "report": report_command,
    "evaluate": evaluate_command,
    "cut_textures": cut_textures_command,
    "patchcore": patchcore_command,
    "quantizers": quantizers_command,
    "accuracy": accuracy_command,
    "agm_torch generate": generate_command,
    "agm_torch preview": preview_command,
    "agm_torch export": folders_command,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_in_one_line_and_works_again_afterwards(
    capsys, disk, parts, tmp_path, name
):
    elsewhere = tmp_path / "another"
    elsewhere.mkdir()
    disk.resize(_WHOLE)
    main, arguments, out = COMMANDS[name](Place(disk.path, parts, elsewhere))
    rewrites = out.exists()
    before = contents(out) if rewrites else {}
    filler = disk.path / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1 << 12))
    assert refused(capsys, main, arguments)
    assert out.exists() == rewrites or name == "agm_torch generate"
    assert not out.exists() or contents(out) == before
    filler.unlink()
    assert not refused(capsys, main, arguments)
    if out.is_file():
        assert out.stat().st_size
    else:
        assert contents(out) != before
