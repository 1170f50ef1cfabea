"""Archives are extracted completely and safely, or not at all."""

import io
import logging
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datasets.archive import extract, extract_once
from datasets.files import file_sha256
from datasets.lock import locked_folder

MODES = {"tar": "w:", "tar.gz": "w:gz", "tar.xz": "w:xz"}


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive_of(path, members, mode: Any = "w:"):
    with tarfile.open(path, mode) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def files(count=5, size=3000):
    return [
        (member(f"a/{i}.png", mtime=1000 + i), os.urandom(size)) for i in range(count)
    ]


@pytest.mark.parametrize("ending", MODES)
def test_extraction_keeps_contents_and_times(tmp_path, ending):
    members = files()
    archive = archive_of(tmp_path / f"x.{ending}", members, MODES[ending])
    extract(archive, tmp_path / "out", progress=False)
    for info, data in members:
        path = tmp_path / "out" / info.name
        assert path.read_bytes() == data
        assert path.stat().st_mtime == info.mtime
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", f"x.{ending}"]


UNSAFE = {
    "../../outside.png": member("../../outside.png"),
    "/outside.png": member("/outside.png"),
    "a/../../outside.png": member("a/../../outside.png"),
    "..\\outside.png": member("..\\outside.png"),
    "symbolic": member("s", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard": member("h", type=tarfile.LNKTYPE, linkname="a/0.png"),
    "device": member("d", type=tarfile.CHRTYPE),
    "pipe": member("p", type=tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("unsafe", UNSAFE)
def test_an_unsafe_member_is_refused_and_nothing_is_left_behind(tmp_path, unsafe):
    home = tmp_path / "deep/home"
    home.mkdir(parents=True)
    archive = archive_of(home / "x.tar", [*files(2), (UNSAFE[unsafe], b"")])
    with pytest.raises(ValueError, match="refused") as caught:
        extract(archive, home / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["deep", "home", "x.tar"]


def test_a_link_to_a_folder_cannot_be_written_through(tmp_path):
    link = member("door", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    through = (member("door/outside.png"), b"data")
    archive = archive_of(tmp_path / "x.tar", [(link, b""), through])
    with pytest.raises(ValueError, match="which is a link"):
        extract(archive, tmp_path / "out", progress=False)
    assert not (tmp_path / "outside.png").exists()


def test_an_archive_above_a_limit_is_refused_before_it_is_written(
    tmp_path, monkeypatch
):
    zeros = [(member("bomb.png"), bytes(3 << 20))]
    archive = archive_of(tmp_path / "x.tar.xz", zeros, "w:xz")
    assert archive.stat().st_size < 2000
    with monkeypatch.context() as limits:
        limits.setattr("datasets.archive.MAX_BYTES", 2 << 20)
        with pytest.raises(ValueError, match="must hold at most 2 MiB"):
            extract(archive, tmp_path / "out", progress=False)
    archive_of(archive, files(5, 1), "w:xz")
    monkeypatch.setattr("datasets.archive.MAX_MEMBERS", 4)
    with pytest.raises(ValueError, match="and 4 members"):
        extract(archive, tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar.xz"]


@pytest.mark.parametrize("ending", MODES)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.8])
def test_a_truncated_archive_is_named_and_nothing_is_left_behind(
    tmp_path, ending, share
):
    archive = archive_of(tmp_path / f"x.{ending}", files(), MODES[ending])
    data = archive.read_bytes()
    archive.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=rf"x\.{ending} is truncated or not a tar"):
        extract(archive, tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == [archive.name]


def test_an_uncompressed_archive_truncated_between_members_is_refused(tmp_path):
    archive = archive_of(tmp_path / "x.tar", files(5, 512))
    archive.write_bytes(archive.read_bytes()[: 3 * 1024])
    with pytest.raises(ValueError, match="its end is missing"):
        extract(archive, tmp_path / "out", progress=False)


def test_a_full_disk_leaves_nothing_half_extracted(tmp_path, monkeypatch):
    archive = archive_of(tmp_path / "x.tar", files())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datasets.archive.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        extract(archive, tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


def test_an_archive_is_extracted_once_and_again_when_it_changes(tmp_path):
    archive = archive_of(tmp_path / "x.tar", files())
    scratch = tmp_path / "scratch"
    folder = extract_once(archive, scratch, sha256=None, progress=False)
    (folder / "mark").touch()
    assert extract_once(archive, scratch, sha256=None, progress=False) == folder
    assert (folder / "mark").exists()
    archive_of(archive, files(6))
    assert extract_once(archive, scratch, sha256=None, progress=False) != folder


def test_leftovers_of_killed_extractions_are_removed(tmp_path):
    archive = archive_of(tmp_path / "x.tar", files())
    home = tmp_path / "scratch/extracted"
    for name in (f".x-0123.{os.getpid()}", ".other-4567.89"):
        (home / name / "a").mkdir(parents=True)
    folder = extract_once(archive, tmp_path / "scratch", sha256=None, progress=False)
    assert sorted(p.name for p in home.iterdir()) == [folder.name]


def test_an_extraction_in_progress_is_waited_for_and_its_result_used(tmp_path, caplog):
    archive = archive_of(tmp_path / "x.tar", files())
    home = tmp_path / "scratch/extracted"

    def extract_there() -> Path:
        return extract_once(archive, tmp_path / "scratch", sha256=None, progress=False)

    with ThreadPoolExecutor() as pool:
        with locked_folder(home, leftovers=".*"):
            waiting = [pool.submit(extract_there) for _ in range(2)]
            unfinished = home / ".unfinished"
            unfinished.mkdir()
            while len(caplog.messages) < 2:
                time.sleep(0.01)
            assert unfinished.is_dir() and not any(w.done() for w in waiting)
        first, second = (w.result() for w in waiting)
    assert first == second
    assert sorted(p.name for p in home.iterdir()) == [first.name]
    assert caplog.messages[0].startswith(f"waiting for process {os.getpid()} on ")
    assert caplog.messages[0].endswith(f" s, which is filling {home}")


def test_an_existing_extraction_is_kept(tmp_path):
    archive = archive_of(tmp_path / "x.tar", files())
    extract(archive, tmp_path / "out", progress=False)
    (tmp_path / "out/mark").touch()
    extract(archive, tmp_path / "out", progress=False)
    assert (tmp_path / "out/mark").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.tar"]


def test_a_different_sha256_is_a_warning(tmp_path, caplog):
    archive = archive_of(tmp_path / "x.tar", files())
    with caplog.at_level(logging.WARNING):
        sha256 = file_sha256(archive)
        extract_once(archive, tmp_path / "1", sha256=sha256, progress=False)
        assert not caplog.messages
        extract_once(archive, tmp_path / "2", sha256="0" * 64, progress=False)
    assert "x.tar is not the official archive" in caplog.text
