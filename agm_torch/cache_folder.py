"""The folders for all that can be made or fetched again. Standard library only."""

import itertools
import os
import stat
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The folder of prepared data, weights and compiled programs.

    $LFQUIAD_CACHE; else `lfquiad` in $XDG_CACHE_HOME; else `.cache/lfquiad` in the home
    folder, if there is one that can be written to; else `lfquiad-<uid>` in the folder
    of temporary files. Containers and services often run without a home folder.
    """
    named = os.environ.get("LFQUIAD_CACHE")
    if named:
        return Path(named)
    base = _xdg_cache() or _home_cache()
    return base / "lfquiad" if base else _temporary()


def torch_cache_folder() -> Path | None:
    """The folder where torch caches files, or None without a home folder."""
    named = os.environ.get("TORCH_HOME")
    if named:
        return Path(named)
    base = _xdg_cache() or home_folder("~/.cache")
    return base / "torch" if base else None


def hub_cache_folder() -> Path | None:
    """A folder for files of the Hugging Face hub, or None to let the hub choose.

    The hub's default is in the home folder. Without one it would make a folder `~`.
    """
    named = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")
    if home_folder() or any(os.environ.get(name) for name in named):
        return None
    return cache_folder() / "huggingface"


def home_folder(path: str | Path = "~") -> Path | None:
    """`path` with `~` expanded, or None for a user without a home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # neither HOME nor the user is known
        return None


def _xdg_cache() -> Path | None:
    """$XDG_CACHE_HOME; its specification has relative paths ignored."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return base if base.is_absolute() else None


def _home_cache() -> Path | None:
    """`.cache` in the home folder, if it can be written to or made."""
    folder = home_folder("~/.cache")
    if folder is None:
        return None
    places = (folder, *folder.parents)
    existing = next((each for each in places if os.path.exists(each)), folder)
    # Data and programs are also taken from a folder that was filled and then locked.
    is_filled = os.path.isdir(folder / "lfquiad")
    return folder if is_filled or os.access(existing, os.W_OK | os.X_OK) else None


def _temporary() -> Path:
    """A folder among the temporary files that no other user has made."""
    try:
        base = tempfile.gettempdir()
    except FileNotFoundError:  # none can be written to; --help must answer
        base = "/tmp"
    names = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    folders = (Path(base) / f"lfquiad-{os.getuid()}{name}" for name in names)
    return next(each for each in folders if _is_free_or_own(each))


def _is_free_or_own(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return True
    return found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode)
