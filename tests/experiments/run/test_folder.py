"""A run folder is complete at any moment."""

import errno
import os

import pytest

from experiments.run.folder import RunFolder


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
