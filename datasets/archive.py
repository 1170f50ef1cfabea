"""Safe extraction of a data set's archive. The archive itself is only read."""

import hashlib
import logging
import lzma
import os
import shutil
import tarfile
import uuid
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from datasets.files import file_sha256
from datasets.lock import alone_in

log = logging.getLogger(__name__)
MAX_BYTES = 32 << 30
"""The largest extraction; MVTec AD, the largest data set here, takes 5 GiB."""
MAX_MEMBERS = 200_000
_BLOCK_BYTES = 512  # a tar archive ends in blocks of zeros of this size
_BROKEN = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error)


def extract(
    archive: Path,
    target: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
    progress: bool = True,
) -> None:
    """Extract a tar archive, however compressed, into the new folder `target`.

    It is written under another name and renamed when whole; where another process was
    faster, its folder is taken. Files and folders alone are extracted, with their
    times, never their owners or permissions.

    Raises:
      ValueError: for an archive that is cut short or none, that holds a link, a device
        or a name which leads outside, or that is larger than `max_bytes` or has more
        than `max_members`.
      OSError: where `target` cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        _extract(archive, temporary, max_bytes, max_members, progress)
        _renamed(temporary, target)
    except _BROKEN as error:
        raise ValueError(
            f"{archive} is cut short or is no tar archive: {error}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _renamed(temporary: Path, target: Path) -> None:
    try:
        os.rename(temporary, target)
    except OSError:
        if not target.is_dir():
            raise


def _extract(
    archive: Path, folder: Path, max_bytes: int, max_members: int, progress: bool
) -> None:
    extracted = 0
    with tarfile.open(archive, "r:*") as tar:
        bar = tqdm(tar, f"extracting {archive.name}", unit="file", disable=not progress)
        for number, member in enumerate(bar, start=1):
            path = folder / _checked_name(archive, member)
            extracted += member.size
            if extracted > max_bytes or number > max_members:
                raise ValueError(
                    f"{archive} must hold at most {max_bytes >> 20} MiB and "
                    f"{max_members} members: it holds more and is not extracted"
                )
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                _write(tar, member, path)
        _check_end(archive, tar.offset)


def _checked_name(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """The member's name, known to stay inside the folder."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise ValueError(
            f"{archive} holds {member.name}, which leads outside the folder it is "
            "extracted to: refused"
        )
    if not (member.isdir() or member.isreg()):
        kind = "a link" if member.issym() or member.islnk() else "no ordinary file"
        raise ValueError(f"{archive} holds {member.name}, which is {kind}: refused")
    return name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    os.utime(path, (member.mtime, member.mtime))


def _check_end(archive: Path, offset: int) -> None:
    """A plain tar that was cut between two members reads like a whole one."""
    if not _is_plain(archive):
        return  # the compression has an end of its own
    with archive.open("rb") as file:
        if file.seek(0, os.SEEK_END) < offset or _last_block(file).strip(b"\0"):
            raise tarfile.ReadError("its end is missing")


def _last_block(file: BinaryIO) -> bytes:
    file.seek(-_BLOCK_BYTES, os.SEEK_END)
    return file.read()


def _is_plain(archive: Path) -> bool:
    try:
        with tarfile.open(archive, "r:"):
            return True
    except tarfile.ReadError:
        return False


def extracted(
    archive: Path, scratch: Path, *, sha256: str | None, progress: bool = True
) -> Path:
    """The folder that an archive is extracted to, under `scratch`, at first use.

    Another archive, or one written anew, has another folder.

    Args:
      sha256: of the official archive; a difference is told in a warning, since what
        counts is whether every image is there.
    """
    stat = archive.stat()
    state = f"{archive.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    digest = hashlib.sha256(state.encode()).hexdigest()[:12]
    target = scratch / "extracted" / f"{archive.name.split('.')[0]}-{digest}"
    if target.exists():
        return target
    with alone_in(target.parent, leftovers=".*"):
        if not target.exists():  # else another process has just made it
            if sha256 is not None and file_sha256(archive) != sha256:
                log.warning("%s is not the official archive by its sha256", archive)
            extract(archive, target, progress=progress)
    return target
