"""The command that compares quantizers: its error messages, and one tiny run."""

import json
from pathlib import Path

import pytest

from experiments.quantizers import __main__ as quantizers
from experiments.quantizers import report
from experiments.quantizers.settings import CompareQuantizers
from experiments.quantizers.variants import read_variant
from lfq_jax.config import ModelConfig
from tests.refusals import refused
from tests.tiny_run import blank_figures, elsewhere, parts, read

__all__ = ["blank_figures", "elsewhere", "parts", "read"]  # fixtures

TINY = (
    *("--model.image-px", "32", "--model.reconstructive-widths", "6", "8"),
    *("--model.discriminative-widths", "6", "8", "--steps", "6", "--anomalies", "4"),
    *("--validation-anomalies", "2", "--categories", "plate", "--seeds", "0", "1"),
    *("--train.log-every", "2", "--variants", "lfq:bits=4", "--dataset", "folder"),
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--variants", "lqf"], "got 'lqf', did you mean 'lfq'?"),
        (["--variants", "lfq:bitz=3"], "a field of lfq must be one of bits,"),
        (["--variants", "lfq:bits=x"], "bits of lfq must be of type int, got 'x'"),
        (["--variants", "lfq:bits"], "a variant must be NAME or NAME:FIELD=VALUE"),
        (["--variants", "lfq:"], "a variant must be NAME or NAME:FIELD=VALUE"),
        (["--variants", "lfq:bits=0"], "bits must be in [1, 64], got 0"),
        (["--variants", "lfq:bits=-2"], "bits must be in [1, 64], got -2"),
        (["--variants", "lfq:bits=44"], "takes 196,608.0 GiB"),
        (["--variants", "fsq:levels=(8,1)"], "levels must be 2 or more each"),
        (["--train.crop-px", "100"], "train.crop_px must be a multiple of 8 and at"),
        (["--variants", "lfq", "lfq"], "--variants must all differ, got lfq lfq"),
        (["--variants"], "--variants must be one or more, got none"),
        (["--variant", "lfq"], "--variants"),
        (["--seeds", "-1"], "--seeds must be at least 0 each, got -1"),
        (["--shots", "0"], "--shots must be at least 1, got 0"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--categories", "capsul"], "did you mean capsule"),
        (["--dataset", "folder", "--data-dir", "nowhere"], "nowhere does not exist"),
        (["--resume", "nothing"], "nothing holds no run"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_2(
    capsys, tmp_path, arguments, expected
):
    message = refused(capsys, quantizers.main, arguments)
    assert expected in message
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("blank_figures")
def test_a_comparison_writes_its_page_and_resume_only_adds_missing_rows(
    tmp_path, capsys, parts, read
):
    out = tmp_path / "compared"
    quantizers.main([*TINY, "--data-dir", str(parts), "--out", str(out)])
    table = capsys.readouterr().out
    assert "lfq:bits=4" in table and "±" in table
    lines = (out / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seed"] for row in rows] == [0, 1]
    assert set(read.values()) == {2 * 2}, "two rows, each reconstructs and scores"
    assert rows[0]["steps"] == 6
    assert rows[0]["codes"]["used_codes"] <= 16
    for group in ("reconstruction", "shortcut", "metrics", "cost"):
        assert all(value is not None for value in rows[0][group].values()), group
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3  # pareto, curves, codes
    assert page.count("data:image/jpeg;base64,") == 1  # test images
    assert "http" not in page.replace("http://www.w3.org", "")
    # a missing row is measured again, a finished one is not
    (out / "results.jsonl").write_text(lines[0] + "\n")
    quantizers.main(["--resume", str(out)])
    again = [
        json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()
    ]
    assert again[0] == rows[0]
    for group in ("reconstruction", "shortcut", "metrics", "codes"):
        assert again[1][group] == rows[1][group], (
            "a resumed training has the same results"
        )


def test_the_page_refuses_a_folder_without_a_comparison(tmp_path, capsys):
    def refusal(folder: Path) -> str:
        return refused(capsys, report.main, [str(folder)])

    assert "there is no run folder" in refusal(tmp_path / "nowhere")
    config, results = tmp_path / "config.json", tmp_path / "results.jsonl"
    config.write_text('{"command": "lfq_training", "config": {"variants": ["lfq"]}}')
    expected = "a run of experiments.lfq_training, not of experiments.quantizers"
    assert expected in refusal(tmp_path)
    config.write_text('{"config": {"variants": ["lfq"]}')
    assert f"{config} is damaged: " in refusal(tmp_path)
    config.write_text('{"config": {"variants": ["lfq"]}}')
    assert "has no finished row yet" in refusal(tmp_path)
    results.write_text('{"variant": "lfq", "points": []}\n')
    assert f"{results} line 1 has no category" in refusal(tmp_path)


def test_every_default_variant_fits_the_default_networks():
    settings = CompareQuantizers()
    for variant in settings.variants:
        ModelConfig(quantizer=read_variant(variant))
    assert settings.schedule.steps(shots=2) == settings.steps
