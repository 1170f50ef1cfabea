"""Files and folders written as a whole or not at all, and hashes of files."""

import contextlib
import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from datasets.file_names import UNFINISHED, temporary_path
from datasets.lock import locked_file

_REFUSALS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
        *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
    }
)
"""Errors with which the system refuses to write."""
LOCK = ".lock"
"""Name of a folder's lock, and ending of other locks."""
_OLD_SECONDS = 600.0


class WriteError(OSError):
    """A file could not be written. The message names the file and the cause.

    Args:
      path: the file's final name, not the temporary one.
      cause: the system's error.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause), str(path))

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an error that names `path`.

    Raises:
      WriteError: the disk is full or read-only, a quota is used up, the folder is not
        writable, or a name is too long. Other errors pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError) or error.errno not in _REFUSALS:
            raise
        raise WriteError(path, error) from error


def make_folder(path: Path) -> Path:
    """Make a folder with its parents unless it exists, and return it.

    Raises:
      WriteError: see `writing`.
      OSError: a part of the path is a file.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it.

    So the file is complete whenever it exists under its final name.

    Raises:
      WriteError: see `writing`. The previous file stays.
    """
    temporary = temporary_path(path, writer=uuid.uuid4().hex[:12])
    with writing(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def filled_atomically(folder: Path, *, replaces: bool = False) -> Iterator[Path]:
    """An empty folder to fill. It gets its final name when the block ends.

    After an error nothing of it is left, and an older folder stays. If two processes
    write the same folder, the second one waits for the first.

    Args:
      folder: the final name. Its parents are created.
      replaces: whether a folder of this name is replaced.

    Raises:
      FileExistsError: the folder exists, and is not replaced.
      WriteError: see `writing`.
    """
    partial = temporary_path(folder)
    parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        make_folder(folder.parent)
        with (
            writing(folder),
            locked_file(partial.with_suffix(LOCK), what=f"writes {folder}"),
        ):
            if folder.exists() and not replaces:
                raise FileExistsError(f"{folder} exists, and is not overwritten")
            shutil.rmtree(partial, ignore_errors=True)  # of a killed process
            partial.mkdir()
            try:
                yield partial
                if replaces and folder.exists():
                    shutil.rmtree(folder)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except BaseException:
        for parent in parents:
            with contextlib.suppress(OSError):  # another process has filled it
                parent.rmdir()
        raise


def is_vacant(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock and what killed processes left."""
    return all(
        path.name == LOCK or path.name.startswith(UNFINISHED)
        for path in folder.iterdir()
    )


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left below `folder`.

    Young files stay: another process may be writing them. `filled_atomically` removes
    the folders itself.
    """
    for path in folder.rglob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):  # another process has renamed or removed it
            is_old = time.time() - path.stat().st_mtime > _OLD_SECONDS
            if is_old and path.is_file() and path.suffix != LOCK:
                path.unlink()


class LineFile:
    """A text file that grows line by line. Every line is complete or absent.

    Args:
      path: the file.
      lines: its first lines, without their ends. An older file is replaced.
    """

    def __init__(self, path: Path, lines: Iterable[str] = ()) -> None:
        self._path = path
        write_atomically(path, _as_bytes(lines))
        with writing(path):
            self._file = path.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Append one line.

        Raises:
          WriteError: see `writing`. The lines before it stay.
        """
        size = os.fstat(self._file.fileno()).st_size
        data = memoryview(_as_bytes([line]))
        with writing(self._path):
            try:
                while data:  # a disk that fills up takes only a part
                    data = data[self._file.write(data) :]
            except OSError:
                os.ftruncate(self._file.fileno(), size)
                raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _as_bytes(lines: Iterable[str]) -> bytes:
    """The lines as bytes; what is not text is escaped."""
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
