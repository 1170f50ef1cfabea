"""A run folder is complete at any moment."""

import errno
import os
import shlex

import pytest

from experiments.run.folder import LOCK, RunFolder
from experiments.run.interruption import resumable, stopped
from lfq_jax.inference.run_folder import detector_folder


def new_run(path, command="few_shot"):
    return RunFolder.create(path, {}, "cpu", command=command)


def test_a_full_disk_names_the_file_and_keeps_its_content(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path / "run", {}, "cpu", command="few_shot")
    run.add_result({"category": "plate"})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = r"results\.jsonl cannot be written: No space left on device"
    with pytest.raises(OSError, match=said):
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
    with pytest.raises(SystemExit), resumable(stopped("python -m x", path)):
        raise KeyboardInterrupt
    printed = capsys.readouterr().err.partition("resume with: ")[2]
    assert shlex.split(printed) == ["python", "-m", "x", "--resume", str(path)]
    with pytest.raises(ValueError, match="did not finish") as unfinished:
        detector_folder(path)
    assert str(path) in shlex.split(str(unfinished.value).partition("resume with")[2])


def test_a_category_has_one_line_however_often_it_is_added_or_stands_in_the_file(
    tmp_path,
):
    run = new_run(tmp_path / "run")
    for value in (1, 2):
        run.add_result({"category": "ring", "seed": 0, "value": value})
    run.add_result({"category": "ring", "seed": 1, "value": 3})
    assert [line["value"] for line in run.results()] == [2, 3]
    # Two processes of an earlier version appended to one file.
    run.results_path.write_text(run.results_path.read_text() * 2)
    assert [line["value"] for line in run.results()] == [2, 3]


def test_a_second_process_waits_for_the_run_and_stops_waiting_on_request(
    tmp_path, caplog
):
    run = new_run(tmp_path / "run")
    answers = iter([False, True, True])
    with run.in_use():
        second = RunFolder.open(run.path, "few_shot")
        with pytest.raises(KeyboardInterrupt), second.in_use(lambda: next(answers)):
            raise AssertionError("both run")
    (said,) = caplog.messages
    assert f"waiting for process {os.getpid()} on " in said
    assert said.endswith(f"which runs in {run.path}")
    assert [path.name for path in run.path.iterdir()] == ["config.json"]


def test_a_new_run_that_fails_at_once_leaves_no_folder(tmp_path):
    for _ in range(2):  # the second try has the same name
        run = new_run(tmp_path / "run")
        with pytest.raises(ValueError), run.in_use():
            (run.path / "ring").mkdir()
            raise ValueError("cannot be trained")
        assert not run.path.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_with_something_to_resume_stays(tmp_path, error):
    run = new_run(tmp_path / "run")
    with pytest.raises(error), run.in_use():
        if error is ValueError:
            (run.path / "metrics.jsonl").write_text("{}")
        raise error
    assert run.config_path.is_file() and not (run.path / LOCK).exists()
    again = RunFolder.open(run.path, "few_shot")
    (run.path / "metrics.jsonl").unlink(missing_ok=True)
    with pytest.raises(ValueError), again.in_use():  # it is not new
        raise ValueError
    assert run.config_path.is_file()


@pytest.mark.parametrize(("command", "stays"), [("few_shot", 1), ("patchcore", 0)])
def test_a_stopped_run_stays_only_if_its_command_resumes_it(tmp_path, command, stays):
    run = new_run(tmp_path / "run", command)
    with pytest.raises(KeyboardInterrupt), run.in_use():
        raise KeyboardInterrupt
    assert run.path.exists() == bool(stays)


def test_a_lock_that_a_killed_process_left_does_not_make_a_folder_full(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / LOCK).write_text("")
    assert new_run(path).config_path.is_file()
    with pytest.raises(ValueError, match="already holds something"):
        new_run(path)
