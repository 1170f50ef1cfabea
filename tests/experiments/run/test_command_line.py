"""A mistake on a command line is one line that names it."""

import io
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from agm_torch.usage import usage_line
from experiments.calibrate import Calibrate
from experiments.export import Export
from experiments.few_shot.settings import FewShot
from experiments.predict.settings import Predict
from experiments.quantizers.lfq_training import LFQTraining
from experiments.quantizers.settings import CompareQuantizers
from experiments.report.__main__ import Report
from experiments.run.command_line import read_command_line, read_flags
from lfq_jax.calibration.thresholds import Rule
from lfq_jax.config import IMAGE_SCORES, PRESETS
from lfq_jax.export.formats import Format
from lfq_jax.quantizers.registry import QUANTIZERS

PROJECT = Path(__file__).resolve().parents[3]


def said(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        read_command_line(FewShot(), prog="few_shot", argv=argv)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and err.count("\n") == 1
    return err.removeprefix("error: ").rstrip()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--shot 2",
            "unrecognized options: --shot, 2; perhaps you meant --shots; "
            "all flags: few_shot --help",
        ),
        ("--shots two", "--shots must be a whole number, got 'two'"),
        ("--shots 0", "--shots must be at least 1, got 0"),
        (f"--seed {1 << 63}", f"--seed must be below 2^63, got {1 << 63}"),
        (
            "--train.clip-norm inf",
            "--train.clip-norm must be at least 0 and finite, got inf",
        ),
        ("--train.warmup x", "--train.warmup must be a number, got 'x'"),
        ("--train.batch-size 0", "--train.batch-size must be at least 1, got 0"),
        (
            "--agm.grounded-sam.box-threshold 2",
            "--agm.grounded-sam.box-threshold must lie in [0.0, 1.0], got 2.0",
        ),
        (
            "--train.decay-at a",
            "--train.decay-at must be written as --train.decay-at [FLOAT [FLOAT ...]], "
            "got ['a']",
        ),
    ],
)
def test_a_mistake_is_named(capsys, argv, message):
    assert said(capsys, *argv.split()) == message


@dataclass(frozen=True)
class Bank:
    levels: int = 4
    head_weight: float = 0.8


@dataclass(frozen=True)
class Model:
    memory_bank: Bank | None = None


@dataclass(frozen=True)
class Renamed:
    """Settings with the new names alone."""

    backbone: str = "none"
    model: Model = Model()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--encoder pretrained:net.npz",
            "--encoder is now --backbone: --backbone none, the name of a backbone or "
            "the path of a file of weights",
        ),
        (
            "--model.reference.levels=2",
            "--model.reference.levels is now --model.memory-bank.levels",
        ),
        (
            "--model.reference.reader_share 1",
            "--model.reference.reader-share is now --model.memory-bank.head-weight",
        ),
        (
            "--model.reference.shows-features",
            "--model.reference.shows-features is no longer available: accuracy fell in "
            "trials with features besides distances",
        ),
        (
            "--model.memory-bank.reader-share 1",
            "--model.memory-bank.reader-share is now --model.memory-bank.head-weight",
        ),
    ],
)
def test_a_renamed_flag_is_refused_with_its_new_name(capsys, argv, message):
    with pytest.raises(SystemExit, match="2"):
        read_command_line(Renamed(), prog="renamed", argv=argv.split())
    assert capsys.readouterr().err == f"error: {message}\n"
    with pytest.raises(SystemExit, match="2"):
        read_flags(Renamed, prog="renamed", argv=argv.split())
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_flag_that_still_exists_is_not_refused():
    @dataclass(frozen=True)
    class Both:
        encoder: str = "here"
        backbone: str = "none"

    found = read_command_line(Both(), prog="both", argv=["--encoder", "there"])
    assert found == Both(encoder="there")


def test_a_wrong_choice_is_answered_with_the_right_ones(capsys):
    told = said(capsys, "--preset", "fast")
    assert "'fast'" in told and "--preset" in told and "'paper'" in told


def test_long_words_are_not_broken(capsys):
    path = "/" + "/".join(["a-folder-with-a-long-name"] * 12)
    assert path in said(capsys, path)


def test_what_is_missing_is_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        read_flags(Report, prog="report", argv=[])
    assert capsys.readouterr().err == "error: missing: PATH; all flags: report --help\n"


def test_help_is_printed_unchanged(capsys):
    with pytest.raises(SystemExit) as end:
        read_command_line(FewShot(), prog="few_shot", argv=["--help"])
    assert not end.value.code and "--shots INT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("default", "flag", "names"),
    [
        (CompareQuantizers(), "--variants", QUANTIZERS),
        (LFQTraining(), "--variants", QUANTIZERS),
        (FewShot(), "--preset", PRESETS),
        (Export(), "--format", get_args(Format)),
        (Export(), "--rule", get_args(Rule)),
        (Predict(), "--rule", get_args(Rule)),
        (Calibrate(), "--image-score", IMAGE_SCORES),
    ],
)
def test_help_names_all_that_a_flag_takes(capsys, monkeypatch, default, flag, names):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        read_command_line(default, prog="command", argv=["--help"])
    _, of_flag = re.split(rf"{flag} (?=[\[{{])", capsys.readouterr().out, maxsplit=1)
    # Up to the default, which is a choice of these names itself.
    words = re.findall(r"\w+", of_flag.partition("(default")[0])
    assert [name for name in names if name not in words] == []


def test_a_box_of_another_shape_is_still_one_line():
    assert usage_line("something\n   else\n") == "something else"
    assert usage_line("") == "the command line cannot be read"


def test_the_generators_commands_give_the_same_line():
    done = subprocess.run(
        [sys.executable, "-m", "agm_torch", "generate", "--images", "a"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and not done.stdout
    told = "error: missing: --category; all flags: python -m agm_torch generate --help"
    assert done.stderr == told + "\n"


def test_a_name_that_the_terminal_lacks_ends_no_command(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    read_command_line(Renamed(), prog="x", argv=[])
    print("gr\u00fcn gr\udcfcn …")
    sys.stdout.flush()
    assert written.getvalue() == b"gr\\xfcn gr\\udcfcn \\u2026\n"
