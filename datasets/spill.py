"""Preparing a split in constant memory and without TensorFlow.

TFDS sorts the records of a split by the hashes of their keys. It keeps up to 1 GB of
records in memory. Above that it uses TensorFlow's file system, which this project does
not install.
"""

import contextlib
import tempfile
from collections.abc import Generator, Iterator
from typing import IO, Any
from unittest import mock

from tensorflow_datasets.core import shuffle


class FileShuffler(shuffle.Shuffler):
    """Keeps the records in a file, and their hashes, offsets and sizes in memory."""

    def __init__(self, file: IO[bytes], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = file
        self._index: list[tuple[int, int, int]] = []

    @property
    def bucket_lengths(self) -> list[int]:
        return [len(self._index)]

    def _add_to_mem_buffer(self, hkey: int, data: bytes) -> None:
        self._index.append((hkey, self._file.tell(), len(data)))
        self._file.write(data)

    def _iter_mem(self) -> Generator[tuple[int, bytes], Any, None]:
        for hkey, offset, size in sorted(self._index):
            self._file.seek(offset)
            yield hkey, self._file.read(size)


@contextlib.contextmanager
def shuffling_on_disk() -> Iterator[None]:
    """Make TFDS sort the records of a split in a temporary file.

    The files have no name, so none can be left behind.
    """
    with contextlib.ExitStack() as files:

        def shuffler(dirpath: Any, *arguments: Any, **options: Any) -> FileShuffler:
            file = files.enter_context(tempfile.TemporaryFile(dir=dirpath))
            return FileShuffler(file, dirpath, *arguments, **options)

        with mock.patch.object(shuffle, "Shuffler", shuffler):
            yield
