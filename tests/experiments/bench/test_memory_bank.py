"""The benchmark of a comparison with a memory bank: its parts, and its mistakes."""

import json
import sys

import pytest

from experiments.bench.memory_bank import main
from tests.refusals import refused


@pytest.mark.parametrize(
    ("kind", "searches"),
    [
        ("texture", ["filter bank, anywhere"]),
        ("object", ["filter bank, anywhere", "filter bank, in place"]),
    ],
)
def test_every_search_of_a_kind_is_timed(monkeypatch, capsys, kind, searches):
    arguments = ["--kind", kind, "--backbone", "none", "--image-px", "32"]
    arguments += ["--shots", "1", "--repetitions", "1"]
    monkeypatch.setattr(sys, "argv", ["memory_bank", *arguments])
    main()
    *rows, last = capsys.readouterr().out.splitlines()
    parts = json.loads(last)["ms"]
    assert list(parts) == ["all features", *searches, "the whole comparison"]
    assert all(part["clock"] > 0 for part in parts.values())
    assert len(rows) == 2 + len(parts)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--image-px", "8"], "--image-px must be at least 32, got 8"),
        (["--image-px", "50"], "image_px must be"),
        (["--shots", "0"], "--shots must be at least 1, got 0"),
        (["--backbone", "efficientnet"], "did you mean efficientnet_lite"),
    ],
)
def test_a_mistake_prints_one_line(monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["memory_bank", *arguments])
    message = refused(capsys, main)
    assert expected in message
