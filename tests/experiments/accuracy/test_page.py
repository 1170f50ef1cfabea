"""The program and the command lines that docs/accuracy.md shows."""

import re
import shlex
from pathlib import Path

import pytest

from experiments.accuracy.candidates import main_job
from experiments.accuracy.settings import read_settings
from tests.tiny_encoder import write_squeezenet

PAGE = Path(__file__).resolve().parents[3] / "docs" / "accuracy.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_program_of_the_page_runs(tmp_path, monkeypatch, capsys):
    write_squeezenet(tmp_path / "squeezenet.npz")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(_blocks("python")[0], str(PAGE), "exec"), names)
    assert "squeezenet1_1" in capsys.readouterr().out
    assert names["fine"].shape == (1, 31, 31, 256)
    assert names["coarse"].shape == (1, 15, 15, 512)


COMMANDS = [
    shlex.split(line, comments=True)
    for block in _blocks("bash")
    for line in block.splitlines()
    if "experiments.accuracy " in line
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_command_lines_of_the_page_are_accepted(words: list[str]):
    settings = read_settings(words[3:])
    main_job(settings.flags)
