"""Checks that weights on this machine are whole, by the sha256 of every file."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from agm_torch.model_config import WeightsConfig
from datasets.files import file_sha256, write_atomically

logger = logging.getLogger(__name__)

_VERIFIED = "verified.json"
WITHOUT_WEIGHTS = "--generator texture needs no weights"


class Found(NamedTuple):
    """A checked file or folder on this machine."""

    path: Path
    identity: str
    """The file's sha256, or `owner/name@commit`, or a digest of a user's folder."""


def load_checkpoint(found: Found) -> dict[str, Any]:
    """The tensors of a checked `.pth` file. No code in the file is executed.

    Raises:
      ValueError: the file is not a checkpoint of tensors.
    """
    import pickle

    import torch

    try:
        state = torch.load(found.path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{found.path} is not a readable checkpoint of tensors ({reason})"
        ) from None
    if not isinstance(state, dict):
        raise ValueError(f"{found.path} holds a {type(state).__name__}, not weights")
    return state


def verified_file(path: Path, expected: str | None, config: WeightsConfig) -> Found:
    """The file with its sha256, which is computed once and again after a change.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the hash is not the `expected` one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {WITHOUT_WEIGHTS}")
    records_path = config.directory / _VERIFIED
    stat = path.stat()
    key = str(path.resolve())
    records = _read_json(records_path)
    size, mtime, sha256 = records.get(key, (None, None, ""))
    if (size, mtime) != (stat.st_size, stat.st_mtime_ns):
        sha256 = file_sha256(path)
    if expected is not None and sha256 != expected.lower():
        raise ValueError(
            f"{path} has sha256 {sha256}, expected {expected.lower()}: refused; delete "
            "it to fetch it again"
        )
    if records.get(key) != [stat.st_size, stat.st_mtime_ns, sha256]:
        _record(records_path, key, [stat.st_size, stat.st_mtime_ns, sha256])
    return Found(path, sha256)


def _record(path: Path, key: str, value: list) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = _read_json(path) | {key: value}
        write_atomically(path, json.dumps(values, indent=1).encode())
    except OSError:
        logger.debug("cannot write %s: files are hashed again next time", path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def verified_folder(folder: Path, config: WeightsConfig) -> Found:
    """A folder that is in no table, identified by the hashes of all its files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(verified_file(path, None, config).identity.encode())
    return Found(folder, f"sha256:{digest.hexdigest()}")


def hub_record(path: Path) -> str | None:
    """The sha256 that the hub recorded: the name of the blob that a file links to.

    None for a small file, or one outside the hub's cache.
    """
    blob = path.resolve()
    is_blob = blob.parent.name == "blobs" and len(blob.name) == 64
    return blob.name if is_blob else None
