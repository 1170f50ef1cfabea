"""Files that the process generating anomalies writes and the training reads.

A finished folder holds `normals.safetensors`, `shard-00000.safetensors`, ... and
`manifest.json`, which lists every file with its sha256. The folder is filled as
`<folder>.partial` and renamed after the manifest is written. So a folder without a
manifest is unfinished.
"""

import fcntl
import hashlib
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from jaxtyping import Int32, UInt8

from datasets.file_names import shell_line
from datasets.files import file_sha256, make_folder, write_atomically

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
NORMALS = "normals.safetensors"
_VERIFIED = ".verified.json"
_HEADER_LIMIT = 100_000_000
_DTYPES = {"U8": np.dtype(np.uint8), "I32": np.dtype("<i4")}


class Records(NamedTuple):
    """Anomalous images with the exact masks of the changed pixels."""

    images: UInt8[np.ndarray, "n h w 3"]
    masks: UInt8[np.ndarray, "n h w"]
    """255 where an image differs from its normal image, 0 elsewhere."""
    sources: Int32[np.ndarray, "n"]
    """Index of the normal image that each record was made from."""
    provenance: list[dict[str, Any]]
    """How each record was made, one entry per record."""


@dataclass(frozen=True)
class Shards:
    """A finished folder, memory-mapped, and locked against eviction while in use."""

    folder: Path
    manifest: dict[str, Any]
    normals: UInt8[np.ndarray, "k h w 3"]
    parts: tuple[Records, ...]
    """One entry per shard file. The arrays are views of the files, not copies."""

    @cached_property
    def images(self) -> UInt8[np.ndarray, "n h w 3"]:
        """All images: a view of the file if there is one shard, else a copy."""
        return _joined([part.images for part in self.parts])

    @cached_property
    def masks(self) -> UInt8[np.ndarray, "n h w"]:
        """255 where an image differs from its normal image, 0 elsewhere."""
        return _joined([part.masks for part in self.parts])

    @cached_property
    def sources(self) -> Int32[np.ndarray, "n"]:
        """Index into `normals` of the image that each record was made from."""
        return _joined([part.sources for part in self.parts])

    @cached_property
    def provenance(self) -> list[dict[str, Any]]:
        """How each record was made."""
        return [entry for part in self.parts for entry in part.provenance]

    def __len__(self) -> int:
        return sum(len(part.sources) for part in self.parts)


class ShardWriter:
    """Fills `<folder>.partial` with shards, in any order and from several processes."""

    def __init__(self, folder: Path, *, count: int, records_per_shard: int) -> None:
        if count < 1 or records_per_shard < 1:
            raise ValueError(
                "count and records_per_shard must be at least 1, got "
                f"{count} and {records_per_shard}"
            )
        self.folder = folder
        self.count = count
        self.records_per_shard = records_per_shard
        self.partial = folder.with_name(folder.name + ".partial")
        make_folder(self.partial)

    @property
    def shard_count(self) -> int:
        return -(-self.count // self.records_per_shard)

    def record_numbers(self, shard: int) -> range:
        """The numbers of the records in shard number `shard`."""
        start = shard * self.records_per_shard
        return range(start, min(start + self.records_per_shard, self.count))

    def begun(self, shard: int) -> Records | None:
        """The records that an earlier process wrote of a shard, if any."""
        for name in (shard_name(shard), _begun_name(shard)):
            path = self.partial / name
            if path.exists():
                try:
                    return _read_records(path)
                except ValueError:
                    path.unlink()  # truncated by a crash: generate it again
        return None

    def write(self, shard: int, records: Records) -> None:
        """Write a complete shard, or its first records if there are fewer."""
        is_whole = len(records.sources) == len(self.record_numbers(shard))
        begun = self.partial / _begun_name(shard)
        path = self.partial / shard_name(shard) if is_whole else begun
        tensors = {
            "images": np.ascontiguousarray(records.images),
            "masks": np.ascontiguousarray(records.masks),
            "sources": records.sources.astype("<i4"),
        }
        _write_tensors(path, tensors, records.provenance)
        if is_whole:
            begun.unlink(missing_ok=True)

    def finish(
        self, normals: UInt8[np.ndarray, "k h w 3"], manifest: Mapping[str, Any]
    ) -> Path:
        """Write the normal images and the manifest, then rename the folder."""
        _write_tensors(self.partial / NORMALS, {"normals": normals}, [])
        names = [NORMALS, *map(shard_name, range(self.shard_count))]
        for path in self.partial.iterdir():
            if path.name not in names:  # unfinished files of killed processes
                path.unlink()
        files = {
            name: {
                "bytes": (self.partial / name).stat().st_size,
                "sha256": file_sha256(self.partial / name),
            }
            for name in names
        }
        whole = {
            "schema_version": SCHEMA_VERSION,
            "count": self.count,
            "records_per_shard": self.records_per_shard,
            "files": files,
            **manifest,
        }
        text = json.dumps(whole, indent=1, sort_keys=True)
        write_atomically(self.partial / MANIFEST, text.encode())
        os.replace(self.partial, self.folder)
        return self.folder


def open_shards(folder: Path, *, verify: bool = True) -> Shards:
    """Memory-map a finished folder.

    Args:
      folder: as `ShardWriter.finish` returned it.
      verify: check every file's sha256. Files that passed an earlier check and have not
        been written since are not read again.

    Raises:
      FileNotFoundError: the folder has no manifest, so it is unfinished.
      ValueError: the manifest has a newer schema, or a file is missing, truncated or
        changed. The message names the file.
    """
    manifest = read_manifest(folder)
    if verify:
        verify_shards(folder, manifest=manifest)
    names = sorted(name for name in manifest["files"] if name != NORMALS)
    normals, _ = _map_tensors(folder / NORMALS)
    shards = Shards(
        folder=folder,
        manifest=manifest,
        normals=normals["normals"],
        parts=tuple(_read_records(folder / name) for name in names),
    )
    if len(shards) != manifest["count"]:
        raise ValueError(
            f"{folder}: the manifest lists {manifest['count']} records, but the shards "
            f"hold {len(shards)}"
        )
    _lock_against_eviction(folder, shards)
    return shards


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished folder.

    Raises:
      FileNotFoundError: there is no manifest.
      ValueError: the manifest is damaged, or has a newer schema.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {MANIFEST}: not a finished folder")
    try:
        manifest = json.loads(path.read_text())
        version = int(manifest["schema_version"])
        files, _ = dict(manifest["files"]), int(manifest["count"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is not a valid manifest, or damaged") from None
    if version > SCHEMA_VERSION or NORMALS not in files:
        raise ValueError(
            f"{path} has schema version {version}; this code reads up to "
            f"{SCHEMA_VERSION}: update the code, or delete the folder to generate it "
            "again"
        )
    return manifest


def verify_shards(
    folder: Path, *, manifest: Mapping[str, Any] | None = None, again: bool = False
) -> None:
    """Compare every file with the sha256 in the manifest.

    Args:
      again: also read files that passed an earlier check.

    Raises:
      ValueError: a file is missing, truncated or changed. The message names the first
        such file, and how to generate the folder again.
    """
    manifest = manifest or read_manifest(folder)
    command = ("python", "-m", "agm_torch", "cache", "verify", "--remove-damaged")
    remedy = (
        f"{shell_line(*command, '--cache', folder.parent)} removes the folder, and the "
        "next run generates it again"
    )
    known = {} if again else _read_verified(folder)
    seen = {}
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(
                f"{path} is missing, although the manifest lists it; {remedy}"
            )
        stat = path.stat()
        if stat.st_size != expected["bytes"]:
            raise ValueError(
                f"{path} has {stat.st_size} bytes instead of {expected['bytes']}: it "
                f"was cut short; {remedy}"
            )
        seen[name] = [stat.st_size, stat.st_mtime_ns, expected["sha256"]]
        if known.get(name) != seen[name] and file_sha256(path) != expected["sha256"]:
            raise ValueError(
                f"{path} does not match its sha256: it was changed; {remedy}"
            )
    if seen != known:
        _remember_verified(folder, seen)


def content_key(identity: Mapping[str, Any]) -> str:
    """A hash of all that determines a folder's bytes, as 20 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def shard_name(shard: int) -> str:
    return f"shard-{shard:05d}.safetensors"


def _begun_name(shard: int) -> str:
    return f"begun-{shard:05d}.safetensors"


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _write_tensors(
    path: Path, tensors: dict[str, np.ndarray], provenance: list[dict[str, Any]]
) -> None:
    # A single metadata entry, because the library does not keep the order of several.
    metadata = {"provenance": json.dumps(provenance, separators=(",", ":"))}
    write_atomically(path, safetensors.numpy.save(tensors, metadata))


def _read_records(path: Path) -> Records:
    tensors, provenance = _map_tensors(path)
    return Records(tensors["images"], tensors["masks"], tensors["sources"], provenance)


def _map_tensors(path: Path) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Views of a memory-mapped safetensors file. The library's own reader copies."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        length = int.from_bytes(data[:8].tobytes(), "little")
        if length > min(_HEADER_LIMIT, data.size - 8):
            raise ValueError("header longer than the file")
        header = json.loads(data[8 : 8 + length].tobytes())
        provenance = json.loads(header.pop("__metadata__")["provenance"])
        body = data[8 + length :]
        tensors = {name: _view(body, **entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a complete shard ({error})") from None
    return tensors, provenance


def _view(
    body: np.ndarray, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    start, end = data_offsets
    # a plain array: slicing a memmap takes ten times as long
    return np.asarray(body[start:end]).view(_DTYPES[dtype]).reshape(shape)


def _read_verified(folder: Path) -> dict[str, list]:
    try:
        return dict(json.loads((folder / _VERIFIED).read_text()))
    except (OSError, ValueError):
        return {}


def _remember_verified(folder: Path, seen: dict[str, list]) -> None:
    try:
        write_atomically(folder / _VERIFIED, json.dumps(seen).encode())
    except OSError:
        pass  # a read-only cache is checked every time it is opened


def _lock_against_eviction(folder: Path, shards: Shards) -> None:
    """Keep a shared lock on the manifest while `shards` exists.

    Also updates the manifest's time, as the time of the last use.
    """
    descriptor = os.open(folder / MANIFEST, os.O_RDONLY)
    weakref.finalize(shards, os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(folder / MANIFEST)
    except OSError:
        pass  # on a read-only disk, or one without locks, nothing is evicted
