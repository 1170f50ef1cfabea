"""The demonstration of LFQ training: its files and its error messages."""

import json

import pytest

from experiments.quantizers import lfq_training
from tests.refusals import refused


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Write runs and caches into the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))


def test_a_run_writes_its_curve_and_its_points(tmp_path, capsys):
    lfq_training.main(
        [
            *("--categories", "stone", "--steps", "100", "--log-every", "50"),
            *("--batch-size", "64", "--held-out", "64", "--hidden", "64"),
            *("--variants", "lfq:bits=6,entropy_weight=0.1", "none"),
            *("--out", str(tmp_path / "run")),
        ]
    )
    assert "lfq:bits=6" in capsys.readouterr().out
    assert (tmp_path / "run" / "curve.png").stat().st_size > 5000
    lines = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        points = line["points"]
        assert [point["step"] for point in points] == [0, 50, 100]
        assert points[-1]["psnr"] > points[0]["psnr"] + 1
    lfq_points = json.loads(lines[0])["points"]
    assert lfq_points[-1]["perplexity"] > 1.5, "the codes have not collapsed"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--variants", "lqf"], "did you mean 'lfq'"),
        (["--categories", "clot"], "woven_cloth"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--patch-px", "500"], "--patch-px must be at most 64, got 500"),
        (["--out", "."], "--out . must not exist yet"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_2(
    capsys, tmp_path, arguments, expected
):
    assert expected in refused(capsys, lfq_training.main, arguments)
    assert not (tmp_path / "runs").exists()
