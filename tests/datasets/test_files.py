"""Files and folders are whole or absent; a refusal names the file and the cause."""

import contextlib
import errno
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.files import (
    UNFINISHED,
    LineFile,
    WriteError,
    filled_atomically,
    remove_unfinished,
    write_atomically,
    writing,
)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 64 bytes: nothing but the test may write meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]
)
def test_a_refusal_to_write_names_the_file_and_the_cause(tmp_path, number):
    with pytest.raises(WriteError) as refused, writing(tmp_path / "a.json"):
        raise OSError(number, os.strerror(number))
    text = f"{tmp_path / 'a.json'} cannot be written: {os.strerror(number)}"
    assert (str(refused.value), refused.value.errno) == (text, number)


def test_what_is_no_refusal_to_write_passes_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        open(tmp_path / "absent")


def test_a_name_that_is_too_long_is_refused_and_the_longest_is_not(tmp_path):
    write_atomically(tmp_path / ("n" * 255), b"x")
    with pytest.raises(WriteError, match="File name too long"):
        write_atomically(tmp_path / ("n" * 256), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


@full_disk()
def test_a_full_disk_keeps_the_previous_file_and_nothing_else(tmp_path):
    path = tmp_path / "scores.json"
    write_atomically(path, b"before")
    with pytest.raises(WriteError, match=r"scores\.json cannot be written"):
        write_atomically(path, b"x" * 100)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


@full_disk()
def test_a_full_disk_leaves_only_whole_lines(tmp_path):
    lines = LineFile(tmp_path / "metrics.jsonl", ["first"])
    lines.write("y" * 40)
    with pytest.raises(WriteError, match=r"metrics\.jsonl cannot be written"):
        lines.write("z" * 40)
    lines.write("last")
    lines.close()
    written = (tmp_path / "metrics.jsonl").read_text()
    assert written == "first\n" + "y" * 40 + "\nlast\n"


@full_disk()
def test_a_folder_that_cannot_be_filled_leaves_nothing(tmp_path):
    folder = tmp_path / "new" / "export"
    with pytest.raises(WriteError) as refused, filled_atomically(folder) as partial:
        (partial / "weights").write_bytes(b"x" * 100)
    assert str(folder) in str(refused.value) and not list(tmp_path.iterdir())


def test_a_folder_is_replaced_only_on_request_and_after_it_is_whole(tmp_path):
    folder = tmp_path / "detector"
    for text in ("one", "two"):
        with filled_atomically(folder, replaces=True) as partial:
            (partial / "a").write_text(text)
    with pytest.raises(ZeroDivisionError), filled_atomically(folder, replaces=True):
        raise ZeroDivisionError
    with pytest.raises(FileExistsError), filled_atomically(folder):
        raise AssertionError
    assert (folder / "a").read_text() == "two" and len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_removed(tmp_path):
    old, young = (tmp_path / "plate" / f"{UNFINISHED}{i}" for i in "12")
    for path in (old, young, tmp_path / "kept"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    os.utime(old, (0, time.time() - 7200))
    remove_unfinished(tmp_path)
    assert not old.exists() and young.exists() and (tmp_path / "kept").exists()
    with filled_atomically(tmp_path / "killed") as partial:
        name = partial.name
    Path(tmp_path / name).mkdir()
    with filled_atomically(tmp_path / "killed", replaces=True) as partial:
        assert partial.name == name and not list(partial.iterdir())
