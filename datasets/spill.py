"""Preparation in constant memory, and of splits above 1 GB without TensorFlow.

TFDS brings the records of a split into the order of their keys' hashes. It keeps up to
1 GB of them in memory to do so, and writes more than that by way of TensorFlow's file
system, which this project does without.
"""

import contextlib
import tempfile
from collections.abc import Generator, Iterator
from typing import IO, Any
from unittest import mock

from tensorflow_datasets.core import shuffle


class FileShuffler(shuffle.Shuffler):
    """Keeps the records in a file, and in memory where each of them lies."""

    def __init__(self, file: IO[bytes], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = file
        self._places: list[tuple[int, int, int]] = []

    @property
    def bucket_lengths(self) -> list[int]:
        return [len(self._places)]

    def _add_to_mem_buffer(self, hkey: int, data: bytes) -> None:
        self._places.append((hkey, self._file.tell(), len(data)))
        self._file.write(data)

    def _iter_mem(self) -> Generator[tuple[int, bytes], Any, None]:
        for hkey, offset, size in sorted(self._places):
            self._file.seek(offset)
            yield hkey, self._file.read(size)


@contextlib.contextmanager
def shuffling_on_disk() -> Iterator[None]:
    """Let TFDS order the records of a split by way of a file.

    The files have no name, so that nothing of them can stay behind.
    """
    with contextlib.ExitStack() as files:

        def shuffler(dirpath: Any, *arguments: Any, **options: Any) -> FileShuffler:
            file = files.enter_context(tempfile.TemporaryFile(dir=dirpath))
            return FileShuffler(file, dirpath, *arguments, **options)

        with mock.patch.object(shuffle, "Shuffler", shuffler):
            yield
