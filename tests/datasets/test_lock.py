"""One process at a time holds a lock; a dead owner's lock is taken over."""

import json
import os

from datasets.lock import locked_file, owner_of


def test_a_second_owner_waits_and_is_told_whom_it_waits_for(tmp_path, caplog):
    path = tmp_path / ".lock"
    with locked_file(path, what="runs here"):
        answers = iter([False, False, True])
        with locked_file(
            path, what="runs here", should_stop=lambda: next(answers)
        ) as second:
            assert second is None
        assert f"process {os.getpid()} on " in owner_of(path)
    (said,) = caplog.messages
    assert said.startswith(f"waiting for process {os.getpid()} on ")
    assert said.endswith(" s, which runs here")
    assert not path.exists() and owner_of(path) == "another process"


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, caplog):
    path = tmp_path / ".lock"
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with locked_file(path) as lock:
        assert lock is not None and f"process {os.getpid()} " in owner_of(path)
    assert not caplog.messages and not path.exists()


def test_a_disk_without_locks_is_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("datasets.lock.fcntl.flock", refuse)
    with locked_file(tmp_path / ".lock") as lock:
        assert lock is None
