"""Commands that are killed at random moments, and started again until they are done.

The results are those of an unbroken run, to the byte. LFQUIAD_KILLS changes the number
of kills. The table is printed with `-s`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests import tiny_detector
from tests.run_contents import contents
from tests.tiny_run import TINY, parts

__all__ = ["parts"]  # fixture

PROJECT = Path(__file__).resolve().parents[2]
NAMES = ("trainer", "sidecar", "predict --watch", "calibrate", "export", "accuracy")
KILLS = int(os.environ.get("LFQUIAD_KILLS", "100"))
SEED = 0
_POLL_SECONDS = 0.02
_LONGEST_SECONDS = 600.0


class Command(NamedTuple):
    """A command that is killed."""

    start: list[str]
    again: Callable[[Path], list[str]]
    """The command line of the next try, from the folder with the results."""
    result: Path
    """The folder with the results, relative to the folder of a round."""
    ends_at: int = 0
    """Rows of scores.csv after which a command that has no end gets a Ctrl-C."""
    is_done_once_there: bool = False
    """Whether `result` appears as a whole, and the command then refuses another try."""


def commands(data: Path) -> dict[str, Command]:
    """The commands by name; `{}` in an argument stands for the folder of a round."""
    part_of_run = ("--run", "{}/run")
    epochs = ("--train.epochs", "6")
    trainer = ["few_shot", "--dataset", "folder", "--data-dir", str(data), *TINY]
    trainer += [*epochs, "--categories", "ring", "--out", "{}/out"]
    predict = ["predict", *part_of_run, "--images", str(data / "ring" / "test")]
    predict += ["--maps", "png", "--out", "{}/out"]
    watch = [*predict, "--watch", "--poll-seconds", "0.05"]
    good = str(data / "ring" / "test" / "good")
    calibrate = ["calibrate", *part_of_run, "--good", good]
    export = ["export", *part_of_run, "--format", "safetensors", "--out", "{}/out"]
    accuracy = ["accuracy", "--leather-dir", str(data), "--categories", "leather"]
    accuracy += ["--seeds", "0", "--out", "{}/out", "--", *TINY]
    sidecar = ["agm_torch", "generate", "--images", str(data / "ring/train/good")]
    sidecar += ["--category", "ring", "--count", "300", "--image-px", "64"]
    sidecar += ["--records-per-shard", "16", "--cache", "{}/out"]
    trained, out = Path("run"), Path("out")
    return {
        "trainer": _resumable(trainer, "few_shot"),
        "sidecar": Command(sidecar, lambda _: sidecar, out),
        "predict --watch": Command(
            watch, lambda out: [*watch, "--resume"] if out.exists() else watch, out, 10
        ),
        "calibrate": Command(calibrate, lambda _: calibrate, trained),
        "export": Command(export, lambda _: export, out, is_done_once_there=True),
        "accuracy": _resumable(accuracy, "accuracy"),
    }


def _resumable(start: list[str], name: str) -> Command:
    def again(out: Path) -> list[str]:
        has_run = (out / "config.json").is_file()
        return [name, "--resume", "{}/out"] if has_run else start

    return Command(start, again, Path("out"))


def _started(arguments: list[str], place: Path) -> subprocess.Popen:
    name, *rest = (word.replace("{}", str(place)) for word in arguments)
    module = name if name == "agm_torch" else f"experiments.{name}"
    with (place / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", module, *rest],
            cwd=place,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "LFQUIAD_CACHE": str(place / "cache"),
            },
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def _finished(
    process: subprocess.Popen, command: Command, place: Path, seconds: float
) -> bool:
    """Wait for the end, at most for some seconds; False where it is not reached."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        rows = place / command.result / "scores.csv"
        if command.ends_at and rows.is_file():
            if rows.read_bytes().count(b"\n") > command.ends_at:
                process.send_signal(signal.SIGINT)
                process.wait(60)
                break
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    said = (place / "said").read_text()
    assert process.returncode == 0 and "Traceback" not in said, said
    return True


def _round_folder(place: Path, run: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(run, place / "run")
    return place


def _kill_until(
    kills: int, command: Command, place: Path, run: Path, rng: random.Random
) -> dict[str, int]:
    """Kill the command `kills` times; compare each finished round with an unbroken one.

    Returns:
      The numbers of kills, of finished rounds, and of rounds that differ.
    """
    process = _started(command.start, _round_folder(place, run))
    started = time.monotonic()
    assert _finished(process, command, place, _LONGEST_SECONDS)
    whole, expected = time.monotonic() - started, contents(place / command.result)
    assert expected
    counts = {"kills": 0, "rounds": 0, "different": 0}
    is_new = True
    while counts["kills"] < kills or not is_new:
        if is_new:
            _round_folder(place, run)
        arguments = command.again(place / command.result)
        process = _started(arguments, place)
        is_last = counts["kills"] >= kills
        seconds = _LONGEST_SECONDS if is_last else rng.uniform(0.1, 1.0) * whole
        is_new = _finished(process, command, place, seconds)
        if not is_new:
            process.kill()
            process.wait()
            counts["kills"] += 1
            is_new = command.is_done_once_there and (place / command.result).exists()
        if is_new:
            counts["rounds"] += 1
            counts["different"] += contents(place / command.result) != expected
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_killed_ends_with_the_results_of_an_unbroken_run(parts, tmp_path, name):
    (parts / "plate").rename(parts / "leather")
    for i in range(4):  # more photographs to calibrate with
        pixels = tiny_detector.part(60 + i, px=48)
        Image.fromarray(np.rot90(pixels)).save(parts / f"ring/test/good/more{i}.png")
    run = tiny_detector.write_run(tmp_path / "a_run", "ring")
    number = NAMES.index(name)
    kills = len(range(number, KILLS, len(NAMES)))
    rng = random.Random(f"{SEED} {name}")
    chosen = commands(parts)[name]
    counts = _kill_until(kills, chosen, tmp_path / "round", run, rng)
    print(f"\n{name:<16}", *(f"{value:>4} {key}" for key, value in counts.items()))
    assert counts["kills"] == kills and not counts["different"]
