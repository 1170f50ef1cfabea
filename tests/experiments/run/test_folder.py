"""A run folder is complete at any moment."""

import errno
import os
import shlex

import pytest

from experiments.run.folder import RunFolder
from experiments.run.interruption import resumable
from lfq_jax.inference.run_folder import detector_folder


def test_a_full_disk_names_the_file_and_keeps_its_content(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path / "run", {}, "cpu", command="few_shot")
    run.add_result({"category": "plate"})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left .*results\.jsonl"):
        run.add_result({"category": "ring"})
    assert sorted(each.name for each in run.path.iterdir()) == [
        *("config.json", "results.jsonl")
    ]
    assert [line["category"] for line in run.results()] == ["plate"]


def test_a_run_is_not_put_where_its_checkpoints_would_be_lost(tmp_path):
    for name in (os.fsdecode(b"gr\xfcn"), "a\\b"):
        with pytest.raises(ValueError, match="--out must be a path in UTF-8"):
            RunFolder.create(tmp_path / name, {}, "cpu", command="few_shot")
    assert not list(tmp_path.iterdir())


def test_printed_resume_commands_can_be_pasted(tmp_path, capsys):
    path = tmp_path / "my run's"
    RunFolder.create(path, {}, "cpu", command="few_shot")
    with pytest.raises(ValueError, match="already holds") as refused:
        RunFolder.create(path, {}, "cpu", command="few_shot")
    words = shlex.split(str(refused.value).partition(", or ")[2])
    assert words[:2] == ["--resume", str(path)]
    with pytest.raises(SystemExit), resumable("python -m x", path):
        raise KeyboardInterrupt
    printed = capsys.readouterr().err.partition("resume with: ")[2]
    assert shlex.split(printed) == ["python", "-m", "x", "--resume", str(path)]
    with pytest.raises(ValueError, match="did not finish") as unfinished:
        detector_folder(path)
    assert str(path) in shlex.split(str(unfinished.value).partition("resume with")[2])
