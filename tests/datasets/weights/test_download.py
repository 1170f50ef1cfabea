"""Downloads resume, are verified, and refuse a wrong byte."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.weights.download import download
from tests.file_server import PAYLOAD, SHA256, server

__all__ = ["server"]  # a fixture


def test_a_broken_download_resumes(server, tmp_path: Path) -> None:
    address, handler = server
    handler.cut_after = 300_000
    want = {"size_bytes": len(PAYLOAD), "sha256": SHA256}
    with pytest.raises(OSError, match=r"broke off after 300000 of 1048576 bytes"):
        download(address, tmp_path / "model.pth", **want)
    assert not (tmp_path / "model.pth").exists()
    handler.cut_after = None
    download(address, tmp_path / "model.pth", **want)
    assert (tmp_path / "model.pth").read_bytes() == PAYLOAD
    assert handler.requests == ["all", "bytes=300000-"]


def test_a_download_with_a_wrong_hash_is_refused_and_removed(
    server, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"sha256 {SHA256}, expected 0000.*refused"):
        download(server[0], tmp_path / "model.pth", sha256="0" * 64)
    assert [p.name for p in tmp_path.glob("model*")] == []


def test_too_little_disk_space_is_refused_before_the_first_byte(
    server, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=r"GB free, model.pth needs 1000000000\.0 GB"):
        download(server[0], tmp_path / "model.pth", size_bytes=10**18)
    assert server[1].requests == []


def test_small_numbers_of_bytes_are_told_in_megabytes(
    server, tmp_path: Path, monkeypatch
) -> None:
    space = SimpleNamespace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: space)
    with pytest.raises(OSError, match=r"1\.0 MB free, m\.pth needs 46\.8 MB more"):
        download(server[0], tmp_path / "m.pth", size_bytes=46_830_571)


def test_an_unreachable_address_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot fetch http://127.0.0.1:9/x: .*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "x")
