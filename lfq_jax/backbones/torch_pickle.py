"""Reads the tensors of a pickled torch file without torch, and without running code.

A pickle names functions and classes that are called while it is read. Only those that
rebuild a dictionary of tensors are known here. Everything else is refused by its name.
Both of torch's formats are read: a zip archive, and the older sequence of pickles.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_ZIP = b"PK\x03\x04"  # the first bytes of a zip archive
_MAGIC = 0x1950A86A20F9469CFC6C  # the first number of the older format
_PROTOCOL = 1001  # the second number
_BFLOAT16 = "bfloat16"
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
"""Number format of torch's storages, by their names in a pickle."""
_DAMAGES = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError),
    *(AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError),
    *(ImportError, MemoryError, NotImplementedError, RecursionError),
)
"""What the standard library raises on bytes that are not a whole file."""


class _RefusedError(Exception):
    """The pickle wants something that is not a tensor or a dictionary."""


class _StorageType(NamedTuple):
    """What stands for a storage's class. It cannot be called."""

    numbers: str


class _Storage(NamedTuple):
    """A block of numbers, which the file holds under `key`."""

    key: str
    numbers: str
    length: int

    @property
    def size_bytes(self) -> int:
        itemsize = 2 if self.numbers == _BFLOAT16 else np.dtype(self.numbers).itemsize
        return self.length * itemsize

    def array(self, data: bytes) -> np.ndarray:
        """The numbers in `data`; bfloat16 as float32, which holds each exactly."""
        if len(data) != self.size_bytes:
            raise EOFError(f"the numbers of storage {self.key} are cut off")
        if self.numbers != _BFLOAT16:
            return np.frombuffer(data, self.numbers)
        upper = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return upper.view(np.float32)


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it: a part of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """The tensor's numbers, from those of its storage."""
        pairs = list(zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError("a tensor has a negative size")
        is_empty = 0 in self.shape
        last = self.offset + sum((size - 1) * stride for size, stride in pairs)
        is_within = last < len(numbers) and math.prod(self.shape) <= len(numbers)
        if not (is_empty or is_within):
            raise ValueError("a tensor is larger than its storage")
        if is_empty:
            return np.empty(self.shape, numbers.dtype)
        steps = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(
            numbers[self.offset :], self.shape, steps, writeable=False
        )
        return view.copy()


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a `.pth`, `.pt` or `.bin` file, by name.

    Nothing in the file is executed. bfloat16 becomes float32; other formats stay.

    Args:
      path: a file that `torch.save` wrote, of a dictionary of tensors.

    Raises:
      ValueError: if the file wants anything but tensors and dictionaries, is truncated
        or otherwise damaged, or holds something else than tensors by name.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            tensors, numbers = _read_zip(file) if is_zip else _read_legacy(file)
            return {n: t.array(numbers(t.storage)) for n, t in tensors.items()}
    except _RefusedError as error:
        raise ValueError(
            f"{path} {error}: only tensors and dictionaries of them are read, since "
            "anything else in a pickle can run code"
        ) from None
    except _DAMAGES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a torch file: {reason}") from None


def _tensors(content: Any) -> dict[str, _Tensor]:
    """The pickled object, if it is a dictionary of tensors by name."""
    if not isinstance(content, dict):
        raise _RefusedError(f"holds a {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _RefusedError(f"holds a {type(value).__name__} under {name!r}")
    return content


class _RebuildTensor:
    """In place of torch's function. It has no attribute that a pickle could set."""

    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
    ) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise TypeError("a tensor has no storage")
        sizes, steps = tuple(map(int, shape)), tuple(map(int, strides))
        return _Tensor(storage, int(offset), sizes, steps)


class _RebuildParameter:
    """In place of torch's function: a parameter is its tensor."""

    __slots__ = ()

    def __call__(self, tensor: Any, *_: Any) -> Any:
        return tensor


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows tensors and ordered dictionaries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _RebuildParameter()
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        raise _RefusedError(f"wants {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise _RefusedError(f"wants an object of kind {kind!r}")
        if any(part is not None for part in view):
            raise _RefusedError("wants a view of a storage")
        if int(count) < 0:
            raise ValueError("a storage has a negative size")
        return _Storage(str(key), storage_type.numbers, int(count))


_Read = tuple[dict[str, _Tensor], Callable[[_Storage], np.ndarray]]


def _read_zip(file: BinaryIO) -> _Read:
    """The tensors, and a function that reads a storage of the archive."""
    archive = zipfile.ZipFile(file)
    pickled = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
    if pickled is None:
        raise ValueError("it is an archive without data.pkl")
    folder = pickled.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise ValueError("its numbers are big-endian")
    tensors = _tensors(_Unpickler(io.BytesIO(archive.read(pickled))).load())
    read: dict[str, np.ndarray] = {}

    def array(storage: _Storage) -> np.ndarray:
        if storage.key not in read:
            member = archive.getinfo(f"{folder}data/{storage.key}")
            # A compressed member could be larger than the memory.
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its numbers are compressed")
            read[storage.key] = storage.array(archive.read(member))
        return read[storage.key]

    return tensors, array


def _read_legacy(file: BinaryIO) -> _Read:
    """The tensors, and a function that gives a storage of the file."""
    magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
        raise ValueError("it does not begin as one")
    if not system.get("little_endian", True):
        raise ValueError("its numbers are big-endian")
    tensors = _tensors(_Unpickler(file).load())
    storages = {t.storage.key: t.storage for t in tensors.values()}
    read: dict[str, np.ndarray] = {}
    for key in _Unpickler(file).load():
        if key not in storages:
            raise ValueError(f"storage {key} belongs to no tensor")
        storage = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.length:
            raise ValueError(f"storage {key} has {count} numbers, not {storage.length}")
        read[key] = storage.array(_exactly(file, storage.size_bytes))
    return tensors, lambda storage: read[storage.key]


def _exactly(file: BinaryIO, count: int) -> bytes:
    """`count` bytes of a file; refuses before it reserves memory for more."""
    here = file.tell()
    left = file.seek(0, io.SEEK_END) - here
    file.seek(here)
    if count > left:
        raise EOFError(f"{count - left} bytes are missing at its end")
    return file.read(count)
