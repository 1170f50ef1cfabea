"""Lists the photographs of a folder, once or while more of them arrive."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_STOP_SECONDS = 0.2  # largest delay until a stop is noticed


def photographs_in(folder: Path) -> list[Path]:
    """The image files of `folder` and its sub-folders, sorted, without hidden files."""
    from datasets.images import image_files

    return [path for path in image_files(folder, below=True) if path.is_file()]


def check_folder(folder: Path | None, flag: str) -> Path:
    """`folder`, which must exist.

    Raises:
      ValueError: if it is not a folder; the message names `flag`.
    """
    if folder is None:
        raise ValueError(f"{flag} must name a folder, got none")
    if not folder.exists():
        raise ValueError(f"{flag} {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"{flag} {folder} is a file, not a folder")
    return folder


def found_photographs(folder: Path | None, flag: str) -> list[Path]:
    """The photographs of `folder` and its sub-folders, at least one.

    Raises:
      ValueError: if it is not a folder, or holds no photograph; the message names
        `flag`.
    """
    photographs = photographs_in(check_folder(folder, flag))
    if not photographs:
        from datasets.images import IMAGE_SUFFIXES

        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{flag} {folder} holds no photograph ({kinds})")
    return photographs


def _states(folder: Path) -> dict[Path, tuple[int, int]] | None:
    """Size and time of every photograph; None while the folder cannot be read."""
    current = {}
    try:
        if not folder.is_dir():
            return None
        found = photographs_in(folder)
    except OSError:
        return None
    for path in found:
        with contextlib.suppress(OSError):  # removed since it was listed
            stat = path.stat()
            current[path] = (stat.st_size, stat.st_mtime_ns)
    return current


def _report_folder(folder: Path, *, is_there: bool) -> None:
    from datasets.progress import write_line

    state = "is back" if is_there else "is gone or cannot be read: waiting for it"
    write_line(f"warning: {folder} {state}")


def arriving(
    folder: Path,
    *,
    poll_seconds: float,
    should_stop: Callable[[], bool],
) -> Iterator[Path | None]:
    """Every photograph of `folder`, then each one that arrives later.

    Yields None when no photograph is left at the moment. A file is yielded once its
    size and time are the same at two looks in a row: a file that is being copied is not
    read too early. A file that was written again counts as a new one. One line on
    stderr says when the folder is gone, as a disk that was unmounted, and one when it
    is back.

    Args:
      folder: the folder to watch, with its sub-folders.
      poll_seconds: time between two looks.
      should_stop: ends the iteration as soon as it returns True.
    """
    yielded: dict[Path, tuple[int, int]] = {}
    previous: dict[Path, tuple[int, int]] = {}
    is_there = True
    while not should_stop():
        current = _states(folder)
        if (current is not None) != is_there:
            is_there = not is_there
            _report_folder(folder, is_there=is_there)
        current = current or {}
        for path, state in current.items():
            if should_stop():
                return
            if previous.get(path) == state and yielded.get(path) != state:
                yielded[path] = state
                yield path
        previous = current
        yield None
        deadline = time.monotonic() + poll_seconds
        while not should_stop() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _STOP_SECONDS))
