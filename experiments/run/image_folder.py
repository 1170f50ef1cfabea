"""Lists the photographs of a folder, once or while more of them arrive."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # this imports Pillow, which --help must not wait for
    from datasets.listing import LeftOut, Listing

_STOP_SECONDS = 0.2  # largest delay until a stop is noticed


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


def listed_photographs(
    folder: Path | None, flag: str, *, refuses: bool = False
) -> "Listing":
    """What lies in `folder` and its sub-folders: at least one photograph.

    Prints what is not read as a photograph, if it hides none.

    Args:
      folder: the folder.
      flag: the flag that named it, for messages.
      refuses: raise an error if anything may hide a photograph.

    Raises:
      ValueError: if it is not a folder, holds no photograph, or is refused.
    """
    from datasets.listing import list_photographs
    from datasets.remarks import counted, named

    listing = list_photographs(check_folder(folder, flag))
    if not listing.files:
        reason = ""
        if listing.unreadable:
            what = counted(listing.unreadable, "entry", "entries")
            names = named([item.below(listing.folder) for item in listing.unreadable])
            reason = f"; {what} cannot be used: {names}"
        raise ValueError(
            f"{flag} {folder} holds no photograph that Pillow reads{reason}"
        )
    if refuses:
        listing.require_readable()
    print_notes(listing.notes())
    return listing


def found_photographs(folder: Path | None, flag: str) -> list[Path]:
    """The photographs of `folder` and its sub-folders, at least one.

    Raises:
      ValueError: if it is not a folder, holds no photograph, or holds what may hide a
        photograph.
    """
    return listed_photographs(folder, flag, refuses=True).files


def print_notes(lines: Sequence[str]) -> None:
    """Print warnings on stderr, above a progress bar if there is one."""
    from datasets.progress import write_line

    for line in lines:
        write_line(f"warning: {line}")


def _was_listed(listing: "Listing") -> bool:
    """Whether the folder itself is there and could be listed."""
    folder = listing.folder
    return folder.is_dir() and all(x.path != folder for x in listing.unreadable)


def _report_folder(folder: Path, *, is_there: bool) -> None:
    from datasets.progress import write_line

    state = "is back" if is_there else "is gone or cannot be read: waiting for it"
    write_line(f"warning: {folder} {state}")


def arriving(
    folder: Path,
    *,
    poll_seconds: float,
    should_stop: Callable[[], bool],
) -> "Iterator[Path | LeftOut | None]":
    """Every photograph of `folder`, then each one that arrives later.

    Yields None when no photograph is left at the moment. A file is yielded once its
    size and time are the same at two looks in a row: a file that is being copied is not
    read too early. A file that was written again counts as a new one. What may hide a
    photograph is yielded in the same way; what hides none is named on stderr. One line
    says when the folder is gone, as a disk that was unmounted, and one when it is back.

    Args:
      folder: the folder to watch, with its sub-folders.
      poll_seconds: time between two looks.
      should_stop: ends the iteration as soon as it returns True.
    """
    from datasets.listing import list_photographs, notes

    yielded: dict[Path, _State] = {}
    previous: dict[Path, _State] = {}
    noted: set[LeftOut] = set()
    is_there = True
    while not should_stop():
        listing = list_photographs(folder)
        if _was_listed(listing) != is_there:
            is_there = not is_there
            _report_folder(folder, is_there=is_there)
        current, reasons = _states(listing)
        for path, state in current.items():
            if should_stop():
                return
            if previous.get(path) == state and yielded.get(path) != state:
                yielded[path] = state
                if path in reasons:
                    yield reasons[path]
                else:
                    print_notes(notes((), [path]))
                    yield path
        print_notes(notes([x for x in listing.skipped if x not in noted], ()))
        noted.update(listing.skipped)
        previous = current
        yield None
        deadline = time.monotonic() + poll_seconds
        while not should_stop() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _STOP_SECONDS))


_State = tuple[int, int, str]
"""Size and time of a file, and why it cannot be used."""


def _states(listing: "Listing") -> "tuple[dict[Path, _State], dict[Path, LeftOut]]":
    """The state of every file by its path, and those that cannot be used."""
    reasons = {x.path: x for x in listing.unreadable if x.path != listing.folder}
    states: dict[Path, _State] = {}
    for path in sorted([*listing.files, *reasons]):
        try:
            info = os.lstat(path) if path in reasons else path.stat()
        except OSError:
            continue  # removed since it was listed
        reason = reasons[path].reason if path in reasons else ""
        states[path] = (info.st_size, info.st_mtime_ns, reason)
    return states, reasons
