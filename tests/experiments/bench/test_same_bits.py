"""The comparison of two checkouts: equal runs pass, and a changed bit is named."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from experiments.bench import run_differences, same_bits
from experiments.bench.run_differences import canonical, compare_runs
from experiments.bench.same_bits import (
    CASES,
    _all_spelled,
    _spelled,
    write_random_squeezenet,
)

MAIN_JOB = """
import pathlib, shutil, sys
if "--help" in sys.argv:
    print("--out --cache-dir", *{flags})
else:
    unknown = [word for word in sys.argv if word.startswith({unknown})]
    if unknown:
        sys.exit(f"error: {{unknown[0]}} is unknown")
    out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    shutil.copytree({run!r}, out)
"""


def write_run(
    run: Path, *, old_names: bool = False, auroc: float = 0.5, mean: float = 1.0
) -> Path:
    """A finished run of one category."""
    folder = run / "bolt" / "detector"
    folder.mkdir(parents=True)
    bank = "reference/sight/filters" if old_names else "memory_bank/extractor/filters"
    head = "reader/bias" if old_names else "logistic_head/bias"
    arrays = {
        f"{bank}/mean": np.array([mean, np.nan], np.float32),
        head: np.array([2], np.float32),
    }
    safetensors.numpy.save_file(arrays, folder / "weights.safetensors")
    images = {"images": np.zeros((1, 2, 2, 3), np.uint8)}
    safetensors.numpy.save_file(images, folder / "validation.safetensors")
    line = {
        "category": "bolt",
        "encoder" if old_names else "backbone": "from scratch",
        "metrics": {"image_auroc": auroc},
        "not_computed": {"pro": "no masks" if old_names else "There are no masks."},
        "seconds": {"total": float(old_names)},
    }
    (run / "results.jsonl").write_text(json.dumps(line) + "\n")
    for name in ("metrics.jsonl", "predictions.jsonl"):
        (run / "bolt" / name).write_text('{"step": 1}\n{"step": 2}\n')
    statement = "old" if old_names else "new"
    thresholds = {"image": {"margin": {"value": 0.5, "statement": statement}}}
    (folder / "thresholds.json").write_text(json.dumps(thresholds))
    return run


def write_runs(side: Path, **changes) -> Path:
    """Finished runs of every case."""
    for case in CASES:
        write_run(side / case, **changes)
    return side


def write_checkout(checkout: Path, *, old_names: bool) -> Path:
    """A checkout whose main job accepts one spelling and copies a finished run."""
    run = write_run(checkout / "run", old_names=old_names)
    spellings = (
        ("--model.reference.", "--encoder"),
        ("--model.memory-bank.", "--back"),
    )
    ours, others = spellings if old_names else spellings[::-1]
    flags = ("--model.reference.levels", "--model.reference.patches", "--encoder")
    if not old_names:
        flags = ("--model.memory-bank.levels", "--model.memory-bank.patches")
        flags += ("--backbone",)
    assert all(flag.startswith(ours) for flag in flags)
    folder = checkout / "experiments" / "few_shot"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    text = MAIN_JOB.format(flags=flags, unknown=others, run=str(run))
    (folder / "__main__.py").write_text(text)
    return checkout


def run(monkeypatch, *arguments: object) -> int:
    """Exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["same_bits", *map(str, arguments)])
    try:
        same_bits.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_runs_that_differ_in_names_alone_are_equal(tmp_path):
    before = write_run(tmp_path / "before", old_names=True)
    rows = compare_runs(before, write_run(tmp_path / "after"))
    assert [row.difference for row in rows] == [None] * 6
    counts = {row.file: (row.number, row.unit) for row in rows}
    assert counts["bolt/detector/weights.safetensors"] == (2, "arrays")
    assert counts["results.jsonl"] == (4, "fields")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"mean": np.nextafter(np.float32(1), np.float32(2))},
            "scratch/bolt/detector/weights.safetensors: memory_bank/extractor/"
            "filter_bank/mean differs in 1 of 2 values, by 1.19e-07 at most",
        ),
        (
            {"auroc": 0.5000000000000001},
            "scratch/results.jsonl: bolt/metrics/image_auroc was 0.5, is 0.50000",
        ),
    ],
)
def test_one_changed_bit_is_named(capsys, monkeypatch, tmp_path, changes, said):
    before = write_runs(tmp_path / "before")
    after = write_runs(tmp_path / "after", **changes)
    assert run(monkeypatch, "--before", before, "--after", after) == 1
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1
    assert printed.out.count("| no |") == len(CASES)


def test_a_field_or_an_array_of_one_side_alone_is_a_difference(tmp_path):
    before, after = write_run(tmp_path / "before"), write_run(tmp_path / "after")
    for side, name in ((before, "old"), (after, "new")):
        weights = {name: np.zeros(1), "same": np.zeros(1)}
        path = side / "bolt" / "detector" / "weights.safetensors"
        safetensors.numpy.save_file(weights, path)
    (after / "results.jsonl").write_text('{"category": "bolt", "metric": 1}\n')
    found = {row.file: row.difference for row in compare_runs(before, after)}
    assert found["bolt/detector/weights.safetensors"] == "old is missing after"
    assert found["results.jsonl"] == "bolt/backbone is missing after"


def test_two_names_of_one_thing_in_one_file_are_refused(tmp_path):
    side = write_run(tmp_path / "run")
    text = '{"category": "bolt", "encoder": 1, "backbone": 1}\n'
    (side / "results.jsonl").write_text(text)
    with pytest.raises(ValueError, match="two names that mean bolt/backbone"):
        compare_runs(side, side)


def test_checkouts_run_with_the_flags_that_they_know(capsys, monkeypatch, tmp_path):
    before = write_checkout(tmp_path / "old", old_names=True)
    after = write_checkout(tmp_path / "new", old_names=False)
    out = tmp_path / "out"
    arguments = ("--before", before, "--after", after, "--out", out)
    assert run(monkeypatch, *arguments) == 0
    assert len(re.findall(r"\| yes \|", capsys.readouterr().out)) == 6 * len(CASES)
    assert run(monkeypatch, *arguments) == 2
    assert "exists already: choose another --out" in capsys.readouterr().err
    again = ("--before", out / "before", "--after", out / "after")
    capsys.readouterr()
    assert run(monkeypatch, *again, "--cases", "paper") == 0
    assert capsys.readouterr().out.count("| paper |") == 6


def test_a_main_job_that_fails_is_told_with_its_last_line(
    capsys, monkeypatch, tmp_path
):
    broken = write_checkout(tmp_path / "old", old_names=True)
    main_job = broken / "experiments" / "few_shot" / "__main__.py"
    main_job.write_text("import sys\nif '--help' not in sys.argv: sys.exit('no data')")
    assert run(monkeypatch, "--before", broken, "--after", broken) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: the main job of ")
    assert said.endswith("ended with status 1: no data")


def test_a_folder_that_is_neither_checkout_nor_runs_is_refused(
    capsys, monkeypatch, tmp_path
):
    runs = write_runs(tmp_path / "runs")
    for wrong, said in (
        (tmp_path / "nowhere", "--after must be a folder, got "),
        (tmp_path, "--after must be a checkout of this project or its finished runs"),
    ):
        assert run(monkeypatch, "--before", runs, "--after", wrong) == 2
        printed = capsys.readouterr().err
        assert printed.startswith(f"error: {said}") and printed.count("\n") == 1


def test_flags_and_names_are_translated_and_values_are_not():
    known = "--encoder STR --model.reference.levels INT"
    assert _spelled("--backbone", known) == "--encoder"
    assert _spelled("--model.memory-bank.levels", known) == "--model.reference.levels"
    assert _spelled("--model.memory-bank.levels", "--model.memory-bank.levels") == (
        "--model.memory-bank.levels"
    )
    assert _spelled("backbone.npz", known) == "backbone.npz"
    for now, before in (("none", "scratch"), ("w.npz", "pretrained:w.npz")):
        words = ["--shots", "2", "--backbone", now]
        assert _all_spelled(words, known)[-2:] == ["--encoder", before]
        assert _all_spelled(words, "--backbone STR") == words
    old, new = "reference/filters/places", "memory_bank/filter_bank/in_place"
    assert canonical(old) == canonical(new)


def test_the_random_network_is_a_known_one(tmp_path):
    from lfq_jax.backbones import load_backbone

    write_random_squeezenet(tmp_path / "net.npz")
    assert load_backbone(tmp_path / "net.npz").name == "squeezenet1_1"


def test_a_renamed_value_is_equal():
    old = dict(run_differences._flat({"encoder": "from scratch", "quantizer": "none"}))
    assert old == {"encoder": '"none"', "quantizer": '"none"'}
