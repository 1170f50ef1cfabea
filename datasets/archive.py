"""Safe extraction of a data set's archive. The archive is never modified."""

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

from datasets.file_names import printable, shortened_name, temporary_path
from datasets.files import file_sha256, writing
from datasets.lock import locked_folder
from datasets.progress import Bar

log = logging.getLogger(__name__)
MAX_BYTES = 32 << 30
"""The largest extraction; MVTec AD, the largest data set here, takes 5 GiB."""
MAX_MEMBERS = 200_000
"""The largest number of files and folders in an archive."""
_STEM_BYTES = 100  # of an archive's name in the name of its extracted folder
_BLOCK_BYTES = 512  # a tar archive ends in blocks of zeros of this size
_READ_ERRORS = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error)


def extract(archive: Path, target: Path, *, progress: bool = True) -> None:
    """Extract a tar archive, compressed or not, into the new folder `target`.

    The files are written to a temporary folder, which is renamed when complete. If
    another process has created `target` meanwhile, its folder is kept. Only files and
    folders are extracted, with their times but without owners and permissions.

    Raises:
      ValueError: the archive is truncated or not a tar archive. Or it contains a link,
        a device or a name outside the target folder. Or it exceeds `MAX_BYTES` or
        `MAX_MEMBERS`.
      OSError: `target` cannot be written.
    """
    temporary = temporary_path(target, writer=uuid.uuid4().hex[:12])
    try:
        with writing(target):
            temporary.mkdir(parents=True)
            _extract_members(archive, temporary, progress)
            _rename(temporary, target)
    except _READ_ERRORS as error:
        raise ValueError(
            f"{archive} is truncated or not a tar archive: {error}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, target: Path) -> None:
    """Rename the extracted folder, unless another process has created `target`."""
    try:
        os.rename(temporary, target)
    except OSError:
        if not target.is_dir():
            raise


def _extract_members(archive: Path, folder: Path, progress: bool) -> None:
    total_bytes = 0
    with tarfile.open(archive, "r:*") as tar:
        bar = Bar(tar, f"extracting {archive.name}", unit="file", disable=not progress)
        for number, member in enumerate(bar, start=1):
            path = folder / _checked_name(archive, member)
            total_bytes += member.size
            if total_bytes > MAX_BYTES or number > MAX_MEMBERS:
                raise ValueError(
                    f"{archive} must hold at most {MAX_BYTES >> 20} MiB and "
                    f"{MAX_MEMBERS} members: it holds more and is not extracted"
                )
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                _write(tar, member, path)
        _check_end(archive, tar.offset)


def _checked_name(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """The member's name, checked to stay inside the target folder."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise ValueError(
            f"{archive} contains {member.name}, which lies outside the target folder: "
            "refused"
        )
    if not (member.isdir() or member.isreg()):
        kind = "a link" if member.issym() or member.islnk() else "not a regular file"
        raise ValueError(f"{archive} contains {member.name}, which is {kind}: refused")
    return name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    os.utime(path, (member.mtime, member.mtime))


def _check_end(archive: Path, offset: int) -> None:
    """Raise a ReadError if an uncompressed archive lacks its final zero block.

    Without this check, an archive truncated between two members would look complete.
    """
    if not _is_uncompressed(archive):
        return  # the compressed format marks its own end
    with archive.open("rb") as file:
        if file.seek(0, os.SEEK_END) < offset or _last_block(file).strip(b"\0"):
            raise tarfile.ReadError("its end is missing")


def _last_block(file: BinaryIO) -> bytes:
    file.seek(-_BLOCK_BYTES, os.SEEK_END)
    return file.read()


def _is_uncompressed(archive: Path) -> bool:
    try:
        with tarfile.open(archive, "r:"):
            return True
    except tarfile.ReadError:
        return False


def extract_once(
    archive: Path, scratch: Path, *, sha256: str | None, progress: bool = True
) -> Path:
    """Extract an archive under `scratch` at first use and return the folder.

    The folder's name depends on the archive's path, size and time, so a changed archive
    is extracted again.

    Args:
      sha256: of the official archive. A difference is only a warning, because the
        images are counted later.
    """
    stat = archive.stat()
    state = f"{archive.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:12]
    stem = shortened_name(archive.name.split(".")[0], _STEM_BYTES)
    target = scratch / "extracted" / f"{stem}-{digest}"
    if target.exists():
        return target
    with locked_folder(target.parent, leftovers=".*"):
        if not target.exists():  # another process may have created it meanwhile
            if sha256 is not None and file_sha256(archive) != sha256:
                log.warning(
                    "%s is not the official archive: its sha256 differs",
                    printable(str(archive)),
                )
            extract(archive, target, progress=progress)
    return target
