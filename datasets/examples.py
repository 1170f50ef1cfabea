"""A prepared split as a lazy sequence of `Example`s."""

import collections
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import tensorflow_datasets as tfds

from datasets.example import Example
from datasets.files import write_atomically
from datasets.images import decode

KINDS: tuple[Literal["texture", "object"], ...] = ("texture", "object")
_DECODER_THREADS = min(4, os.cpu_count() or 1)


class Row(NamedTuple):
    """Facts about a stored image that are known without decoding it."""

    key: str
    position: int
    """Index in array_record, which orders the records by their keys' hashes."""
    sha256: str
    lacks_mask: bool
    """True if the image shows a defect and its mask is empty."""


class Examples(Sequence[Example]):
    """One split, sorted by key. An image is decoded when it is accessed."""

    def __init__(self, source: Sequence[dict[str, Any]], rows: Sequence[Row]) -> None:
        self._source = source
        self._rows = sorted(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(row.key for row in self._rows)

    @property
    def sha256s(self) -> tuple[str, ...]:
        """Hashes of every image's size and pixels, in the order of `keys`."""
        return tuple(row.sha256 for row in self._rows)

    @property
    def unmasked_defects(self) -> tuple[str, ...]:
        """Keys of images that show a defect but have no mask or an empty mask."""
        return tuple(row.key for row in self._rows if row.lacks_mask)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> "list[Example]": ...

    def __getitem__(self, index: int | slice) -> "Example | list[Example]":
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        stored = self._source[self._rows[index].position]
        image = decode(stored["image"])
        label = int(stored["label"])
        # A good part's mask is empty: there is nothing to decode.
        mask = decode(stored["mask"]) > 0 if label else np.zeros(image.shape[:2], bool)
        return Example(
            key=_text(stored["key"]),
            category=_text(stored["category"]),
            kind=KINDS[int(stored["kind"])],
            defect=_text(stored["defect"]),
            image=image,
            mask=mask,
            label=label,
            sha256=_text(stored["sha256"]),
        )

    def __iter__(self) -> Iterator[Example]:
        """Yield the examples in order, while threads decode the next few.

        The error of an image that cannot be decoded is raised at that image's turn.
        """
        with ThreadPoolExecutor(_DECODER_THREADS) as pool:
            ahead = collections.deque[Future[Example]]()
            try:
                for index in range(len(self)):
                    ahead.append(pool.submit(self.__getitem__, index))
                    if len(ahead) > 2 * _DECODER_THREADS:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:  # the caller may have stopped early
                pool.shutdown(wait=False, cancel_futures=True)


def read_examples(builder: Any, split: str) -> Examples:
    """Read a split of a prepared builder. A split that does not exist is empty."""
    if split not in builder.info.splits:
        return Examples([], [])
    skip = tfds.decode.SkipDecoding()
    source = builder.as_data_source(split=split, decoders={"image": skip, "mask": skip})
    return Examples(source, _rows(source, Path(builder.data_path), split))


def _rows(source: Sequence[Any], folder: Path, split: str) -> list[Row]:
    """The split's rows, computed once and then kept in a file next to the records."""
    path = folder / f"rows-{split}.json"
    if path.exists():
        return [Row(*row) for row in json.loads(path.read_text())]
    rows = [_row(source[position], position) for position in range(len(source))]
    with contextlib.suppress(OSError):  # a cache may be read-only
        write_atomically(path, json.dumps(rows).encode())
    return rows


def _row(stored: dict[str, Any], position: int) -> Row:
    lacks_mask = bool(stored["label"]) and not decode(stored["mask"]).any()
    return Row(_text(stored["key"]), position, _text(stored["sha256"]), lacks_mask)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
