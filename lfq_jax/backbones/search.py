"""Finds the weights of a published backbone on this machine, or downloads them.

The places are searched in this order: the installed package, the folders of downloaded
files, the cache of the Hugging Face hub. Then the file is downloaded, unless that is
forbidden. A file with an unexpected sha256 is refused.
"""

import difflib
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lfq_jax.backbones.published import (
    NONE,
    PUBLISHED,
    HubRepository,
    PackageFile,
    PlainFile,
    Published,
    Source,
)

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".bin")
"""Endings of the files that are read."""
WITHOUT = f"backbone {NONE} needs no weights"


@dataclass(frozen=True)
class Places:
    """Where weights are searched, and whether missing ones may be downloaded."""

    folders: tuple[Path, ...] = ()
    """Folders of downloaded files. A file from an ordinary server is downloaded into
    the first one."""
    hub_cache: Path | None = None
    """The cache of the Hugging Face hub. None: the library's own."""
    offline: bool = False
    """Never open a connection. HF_HUB_OFFLINE forbids connections, too."""


class Found(NamedTuple):
    """A file of weights on this machine."""

    path: Path
    place: str
    """The kind of place in which the file is, for a listing."""


def find_weights(name_or_path: str | Path, places: Places | None = None) -> Path:
    """The verified file of a backbone's weights, downloaded where it is missing.

    Args:
      name_or_path: a name of `PUBLISHED`, or a file, which is returned as it is.
      places: default: the installed packages and the hub's cache.

    Raises:
      ValueError: the name is unknown, or a file's hash is not the expected one.
      FileNotFoundError: the file is missing and cannot or may not be downloaded.
      OSError: the download failed, or the disk has too little space.
    """
    entry = PUBLISHED.get(str(name_or_path))
    if entry is None:
        return _existing(name_or_path)
    places = places or Places()
    found = found_weights(entry, places)
    return found.path if found else _downloaded(entry, places)


def found_weights(entry: Published, places: Places) -> Found | None:
    """The verified file on this machine, or None. Opens no connection.

    Raises:
      ValueError: the file's hash is not the expected one.
    """
    from datasets.weights.verification import hub_record, verified_sha256

    for source in entry.sources:
        for path, place in _existing_files(entry, source, places):
            expected = source.sha256 or hub_record(path)
            verified_sha256(path, expected, records=_first(places.folders))
            return Found(path, place)
    return None


def is_path(name_or_path: str) -> bool:
    """Whether a backbone is named by a file rather than by a published name."""
    return Path(name_or_path).suffix in SUFFIXES


def check_name(name_or_path: str, field: str = "backbone") -> None:
    """Refuse what is neither a published name, nor `none`, nor a file of weights.

    Args:
      field: what the message calls the argument.

    Raises:
      ValueError: names similar names.
    """
    known = (*PUBLISHED, NONE)
    if name_or_path in known or is_path(name_or_path):
        return
    files = f", or a file of weights ({', '.join(SUFFIXES)})"
    raise ValueError(_unknown(name_or_path, field, known, or_else=files))


def check_published(name: str, field: str) -> None:
    """Refuse what is not a published name.

    Args:
      field: what the message calls the argument.

    Raises:
      ValueError: names similar names.
    """
    if name not in PUBLISHED:
        raise ValueError(_unknown(name, field, tuple(PUBLISHED)))


def _unknown(
    given: str, field: str, known: tuple[str, ...], *, or_else: str = ""
) -> str:
    similar = difflib.get_close_matches(given, known, n=3)
    hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
    got = given or "nothing"
    return f"{field} must be one of {', '.join(known)}{or_else}, got {got}{hint}"


def _existing(name_or_path: str | Path) -> Path:
    check_name(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist: it must be a file of weights")
    return path


def _first(folders: Sequence[Path]) -> Path | None:
    return folders[0] if folders else None


def _existing_files(
    entry: Published, source: Source, places: Places
) -> Iterator[tuple[Path, str]]:
    """Files of one source that exist, each with its kind of place."""
    from datasets.weights.hub import cached_hub_file

    if isinstance(source, PackageFile):
        path = _in_package(source)
        if path is not None:
            yield path, f"package {source.distribution}"
    for folder in places.folders:
        path = folder / _file_name(entry, source)
        if path.is_file():
            yield path, "folder"
    if isinstance(source, HubRepository):
        path = cached_hub_file(
            source.repository,
            source.name,
            revision=source.revision,
            cache=places.hub_cache,
        )
        if path is not None:
            yield path, "hub cache"


def _in_package(source: PackageFile) -> Path | None:
    """The file of an installed package, whose code is not imported."""
    try:
        distribution = importlib.metadata.distribution(source.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(source.path)))
    return path if path.is_file() else None


def _file_name(entry: Published, source: Source) -> str:
    """The file's name in a folder of downloaded files."""
    if isinstance(source, PlainFile):
        return source.name
    return entry.name + Path(source.name).suffix


def _downloaded(entry: Published, places: Places) -> Path:
    """The file, downloaded from the first source that has one file to fetch."""
    from datasets.weights.download import download, may_connect
    from datasets.weights.hub import fetch_hub_file, has_hub_library
    from datasets.weights.verification import hub_record, verified_sha256

    if not may_connect(offline=places.offline):
        raise _missing(entry, places, "connections are forbidden")
    source = next(s for s in entry.sources if not isinstance(s, PackageFile))
    folder = _first(places.folders)
    try:
        if isinstance(source, PlainFile):
            if folder is None:
                raise _missing(entry, places, "there is no folder for it")
            path = folder / source.name
            size, sha256 = source.size_bytes, source.sha256
            download(source.address, path, size_bytes=size, sha256=sha256)
            return path
        if not has_hub_library():
            raise _missing(entry, places, "huggingface_hub is not installed")
        path = fetch_hub_file(
            source.repository,
            source.name,
            revision=source.revision,
            size_bytes=source.size_bytes,
            cache=places.hub_cache,
        )
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _missing(entry, places, str(error)) from error
    verified_sha256(path, source.sha256 or hub_record(path), records=folder)
    return path


def _missing(entry: Published, places: Places, reason: str) -> FileNotFoundError:
    """The error that names file, size, address, place, and what runs instead."""
    return FileNotFoundError(
        f"backbone {entry.name} ({described_size(entry)}) is not on this machine, and "
        f"{reason}: {how_to_get(entry, places)}; {WITHOUT}"
    )


def described_size(entry: Published) -> str:
    """Name and size of the preferred source's file."""
    from datasets.weights.sizes import file_size

    source = entry.sources[0]
    return f"{source.name}, {file_size(source.size_bytes)}"


def how_to_get(entry: Published, places: Places) -> str:
    """How a person gets the weights: the package, or address and place."""
    source = entry.sources[0]
    if isinstance(source, PackageFile):
        return f"{source.address}, or name a file"
    licence = ""
    if isinstance(source, HubRepository) and source.is_gated:
        licence = " (gated: an account must have accepted its licence)"
    folder = _first(places.folders)
    place = f" and put it at {folder / _file_name(entry, source)}" if folder else ""
    return f"fetch {source.address}{licence}{place}, or name a file"
