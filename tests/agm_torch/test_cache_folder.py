"""Where caches are kept, also for a user without a home folder."""

import os
import pwd
import tempfile
from pathlib import Path
from typing import Any

import pytest

from agm_torch.cache_folder import (
    cache_folder,
    home_folder,
    hub_cache_folder,
    torch_cache_folder,
)


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variable that names a folder; temporary files in `tmp_path / "tmp"`."""
    for name in ("LFQUIAD_CACHE", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


@pytest.fixture
def nameless(monkeypatch):
    """A user without HOME whom the system does not know."""

    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_the_first_of_four_places_that_is_named_is_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/lfquiad"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / "home/.cache/lfquiad"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/lfquiad"
    assert torch_cache_folder() == tmp_path / "xdg/torch"
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_without_a_home_the_cache_is_among_the_temporary_files(nameless, tmp_path):
    own = tmp_path / "tmp" / f"lfquiad-{os.getuid()}"
    assert cache_folder() == own
    assert home_folder("~/a") is None and torch_cache_folder() is None
    assert hub_cache_folder() == own / "huggingface"


def test_without_a_home_the_named_folders_still_count(nameless, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lfquiad"
    assert hub_cache_folder() is None, "the hub has a folder of its own there"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert torch_cache_folder() == tmp_path / "torch"


def test_a_folder_of_another_user_is_never_taken(nameless, monkeypatch, tmp_path):
    taken = tmp_path / "tmp" / f"lfquiad-{os.getuid()}"
    taken.symlink_to(tmp_path)
    assert cache_folder() == taken.with_name(f"{taken.name}-2")
    taken.unlink()
    taken.mkdir()
    assert cache_folder() == taken
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    other = taken.rename(taken.with_name(f"lfquiad-{me + 1}"))
    assert cache_folder() == other.with_name(f"{other.name}-2")


@pytest.mark.parametrize("is_filled", [False, True])
def test_a_home_that_cannot_be_written_to_serves_only_if_it_has_a_cache(
    monkeypatch, tmp_path, is_filled
):
    home = tmp_path / "home"
    (home / ".cache" / ("lfquiad" if is_filled else "")).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(
        os, "access", lambda path, mode: not Path(path) == home / ".cache"
    )
    temporary = tmp_path / "tmp" / f"lfquiad-{os.getuid()}"
    assert cache_folder() == (home / ".cache/lfquiad" if is_filled else temporary)


def test_a_cache_is_named_even_where_nothing_can_be_written(nameless, monkeypatch):
    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert cache_folder().parent == Path("/tmp")
