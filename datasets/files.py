"""Files written as a whole or not at all, and their hashes."""

import hashlib
import os
from pathlib import Path

from datasets.file_names import temporary_path


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it.

    So the file is complete whenever it exists under its final name.

    Raises:
      OSError: the disk is full or read-only. The message names the file, unlike that
        of a plain write.
    """
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
