"""Bars for a terminal, lines for a log, and nothing glued to either."""

import io
import logging
import sys
import warnings

import pytest

from datasets import progress
from datasets.errors import one_line_errors
from datasets.progress import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_one_line_a_stage_and_no_carriage_return(capsys):
    for _ in Bar(range(500), "tile: scoring", unit="image"):
        pass
    for _ in Bar(iter(range(500)), "tile: preparing"):  # of unknown length
        pass
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["tile: scoring: 0 of 500, 00:00", "tile: preparing: 0, 00:00"]


def test_a_log_gets_another_line_after_the_shortest_time_between_two(
    capsys, monkeypatch
):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with Bar(desc="tile: comparing", bar_format="{desc}") as bar:
        bar.total, bar.bar_format = 9, bar.line_format
        bar.set_description_str("tile: training", refresh=False)
        bar.set_postfix(loss="0.5", refresh=False)
        bar.update(3)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "tile: comparing"
    assert second == "tile: training: 3 of 9, 00:00, loss=0.5"


def test_an_error_has_its_own_line_after_an_open_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    with pytest.raises(SystemExit), one_line_errors():
        bar = Bar(total=10, desc="tile: training")
        bar.update(5)
        raise OSError(28, "No space left on device")
    after = shown.getvalue().rpartition("\r")[2]
    assert after == "error: [Errno 28] No space left on device\n"


def test_warnings_are_lines_and_libraries_are_silent(capsys):
    absl, handler = logging.getLogger("absl"), logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        with one_line_errors(), warnings.catch_warnings():
            warnings.simplefilter("always")
            absl.warning("Waiting for previous save to complete took 3 seconds")
            logging.getLogger("datasets.load").warning("2 images\nhave no mask")
            warnings.warn("of low contrast", stacklevel=1)
    finally:
        logging.getLogger().removeHandler(handler)
    shown = capsys.readouterr().err
    assert shown == "warning: 2 images have no mask\nwarning: of low contrast\n"
