"""Fetch one file from a plain URL: resumable, verified, never half a file.

The checkpoints of the paper and torchvision's are on ordinary servers. The public
functions of huggingface_hub take only files of its hub, and torch.hub cannot resume.
"""

import hashlib
import logging
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.files import make_folder, writing
from datasets.lock import locked_file
from datasets.progress import Bar, is_terminal
from datasets.weights.sizes import file_size

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30


def may_connect(*, offline: bool) -> bool:
    """Whether a missing file may be downloaded.

    Args:
      offline: whether the user forbids connections. HF_HUB_OFFLINE forbids them, too.
    """
    hub = os.environ.get("HF_HUB_OFFLINE", "").upper()
    return not offline and hub not in {"1", "ON", "YES", "TRUE"}


def download(
    address: str,
    path: Path,
    *,
    size_bytes: int | None = None,
    sha256: str | None = None,
) -> None:
    """Download `address` to `path`, and resume an attempt that broke off.

    The bytes are written to `<path>.part`, which is renamed once its size and hash are
    right. If several processes want the same file, one downloads it and the others
    wait.

    Args:
      size_bytes: required size. So much disk space is required before the download.
      sha256: required hash.

    Raises:
      OSError: no connection, the server refuses, or too little disk space.
      ValueError: the size or the hash is wrong. The bytes are deleted.
    """
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    with _one_process_at_a_time(path):
        if path.exists():  # another process has downloaded it
            return
        _check_disk_space(part, size_bytes)
        with writing(part):
            _fetch(address, part, size_bytes)
        _check_bytes(part, address, size_bytes, sha256)
        os.replace(part, path)


@contextmanager
def _one_process_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock of a file. The system releases it when the process ends."""
    with locked_file(path.with_name(f".{path.name}.lock"), what=f"fetches {path}"):
        yield


def _check_disk_space(part: Path, size_bytes: int | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    require_space(part.parent, (size_bytes or 0) - have, what=part.stem)


def require_space(folder: Path, size_bytes: int, *, what: str) -> None:
    """Refuse a download for which the disk of `folder` has too little space.

    Args:
      folder: where the file will be. It may not exist yet.
      size_bytes: bytes that are still to be written.
      what: the file's name, for the message.

    Raises:
      OSError: names the folder, the free space and the space that is needed.
    """
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if size_bytes > free:
        raise OSError(
            f"{folder} has {file_size(free)} free, {what} needs "
            f"{file_size(size_bytes)} more"
        )


def _fetch(address: str, part: Path, size_bytes: int | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    if size_bytes is not None and have >= size_bytes:
        return
    request = urllib.request.Request(address)
    if have:
        request.add_header("Range", f"bytes={have}-")
    logger.info("fetching %s into %s", address, part.parent)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            is_rest = answer.status == 206  # a server may also start again
            _copy(answer, part, have if is_rest else 0, size_bytes)
    except urllib.error.URLError as error:
        raise OSError(f"cannot fetch {address}: {error}") from error


def _copy(answer, part: Path, have: int, size_bytes: int | None) -> None:
    with (
        part.open("ab" if have else "wb") as file,
        Bar(
            desc=part.stem,
            total=size_bytes,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=not is_terminal(sys.stderr),
        ) as bar,
    ):
        while block := answer.read(_BLOCK_BYTES):
            bar.update(file.write(block))


def _check_bytes(
    part: Path, address: str, size_bytes: int | None, sha256: str | None
) -> None:
    size = part.stat().st_size
    if size_bytes is not None and size < size_bytes:
        raise OSError(
            f"{address} broke off after {size} of {size_bytes} bytes; run again to "
            "resume"
        )
    if size_bytes is not None and size > size_bytes:
        part.unlink()
        raise ValueError(f"{address} sent {size} bytes, expected {size_bytes}: refused")
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        part.unlink()
        raise ValueError(
            f"{address} sent bytes with sha256 {found}, expected {sha256}: refused"
        )
