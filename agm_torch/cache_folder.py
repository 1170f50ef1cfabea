"""The folder for all that can be made or fetched again. Standard library only."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$LFQUIAD_CACHE, or `lfquiad` in the user's cache folder."""
    named = os.environ.get("LFQUIAD_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lfquiad"
