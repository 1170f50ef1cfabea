"""One file of the Hugging Face hub: in the hub's cache, or downloaded into it."""

import contextlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from datasets.progress import is_terminal
from datasets.weights.download import require_space

logger = logging.getLogger(__name__)


def has_hub_library() -> bool:
    """Whether `huggingface_hub` is installed."""
    return importlib.util.find_spec("huggingface_hub") is not None


def cached_hub_file(
    repository: str, name: str, *, revision: str | None, cache: Path | None = None
) -> Path | None:
    """The file in the hub's cache, or None. Opens no connection.

    Args:
      repository: `owner/name`.
      name: the file in the repository.
      revision: commit. None: the newest one.
      cache: the cache's folder. Default: the library's own.
    """
    if not has_hub_library():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, name, cache_dir=cache, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetch_hub_file(
    repository: str,
    name: str,
    *,
    revision: str | None,
    size_bytes: int,
    cache: Path | None = None,
) -> Path:
    """Download a file into the hub's cache, with a progress bar on a terminal.

    The library resumes a download that broke off. The file gets its name once it is
    complete.

    Args:
      repository, name, revision, cache: as in `cached_hub_file`.
      size_bytes: so much disk space is required before the download.

    Raises:
      OSError: no connection, the hub refuses, the file needs an account with access, or
        too little disk space.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    require_space(cache or Path(constants.HF_HUB_CACHE), size_bytes, what=name)
    logger.info("fetching %s of %s", name, repository)
    try:
        with _quiet_library():
            path = hf_hub_download(repository, name, revision=revision, cache_dir=cache)
            return Path(path)
    except GatedRepoError as error:
        raise PermissionError(
            f"{repository} is gated: accept its licence at "
            f"https://huggingface.co/{repository} and log in with `hf auth login`"
        ) from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(f"cannot fetch {name} of {repository}: {reason}") from error


@contextlib.contextmanager
def _quiet_library() -> Iterator[None]:
    """Hide progress bars outside a terminal, and what the library logs as it retries.

    What it cannot do it raises as well.
    """
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.CRITICAL)
    hides = not is_terminal(sys.stderr) and not are_progress_bars_disabled()
    if hides:
        disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if hides:
            enable_progress_bars()
