"""The photographs of a folder, once or as they arrive."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LOOK_UP_SECONDS = 0.2  # within which a stop is noticed


def photographs_in(folder: Path) -> list[Path]:
    """Every image file in `folder` and below, by name; hidden ones are left out."""
    from datasets.images import image_files

    return [path for path in image_files(folder, below=True) if path.is_file()]


def check_folder(folder: Path | None, flag: str) -> Path:
    """`folder`, where it exists.

    Raises:
      ValueError: naming the flag, where there is none.
    """
    if folder is None:
        raise ValueError(f"{flag} must name a folder, got none")
    if not folder.exists():
        raise ValueError(f"{flag} {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"{flag} {folder} is a file, not a folder")
    return folder


def found_photographs(folder: Path | None, flag: str) -> list[Path]:
    """As `photographs_in`, at least one.

    Raises:
      ValueError: where there is no folder, or no photograph in it.
    """
    found = photographs_in(check_folder(folder, flag))
    if not found:
        from datasets.images import IMAGE_SUFFIXES

        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{flag} {folder} holds no photograph ({kinds})")
    return found


def arriving(
    folder: Path,
    *,
    poll_seconds: float,
    should_stop: Callable[[], bool],
) -> Iterator[Path | None]:
    """Every photograph of `folder` once, then each that comes later; None: a pause.

    A file is taken when its size and time are the same at two looks, so that one being
    copied is not read by half. A file written anew counts as a new one.
    """
    seen: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] = {}
    while not should_stop():
        now = {}
        for path in photographs_in(folder):
            try:
                stat = path.stat()
            except OSError:
                continue  # taken away meanwhile
            now[path] = (stat.st_size, stat.st_mtime_ns)
        for path, state in now.items():
            if should_stop():
                return
            if before.get(path) == state and seen.get(path) != state:
                seen[path] = state
                yield path
        before = now
        yield None
        until = time.monotonic() + poll_seconds
        while not should_stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_UP_SECONDS))
