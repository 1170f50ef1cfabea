"""Checks that a file of weights is whole, by its sha256."""

import json
import logging
from pathlib import Path
from typing import Any

from datasets.files import file_sha256, write_atomically

logger = logging.getLogger(__name__)

_VERIFIED = "verified.json"


def verified_sha256(path: Path, expected: str | None, *, records: Path | None) -> str:
    """The file's sha256, which is computed once and again after a change.

    Args:
      path: an existing file.
      expected: required hash. None accepts every file.
      records: the folder that keeps the hashes that were computed. None: compute it
        each time.

    Raises:
      ValueError: the hash is not the `expected` one.
    """
    stat = path.stat()
    key = str(path.resolve())
    known = _read_json(records / _VERIFIED) if records else {}
    size, mtime, sha256 = known.get(key, (None, None, ""))
    if (size, mtime) != (stat.st_size, stat.st_mtime_ns):
        sha256 = file_sha256(path)
    if expected is not None and sha256 != expected.lower():
        raise ValueError(
            f"{path} has sha256 {sha256}, expected {expected.lower()}: refused; delete "
            "it to fetch it again"
        )
    current = [stat.st_size, stat.st_mtime_ns, sha256]
    if records and known.get(key) != current:
        _record(records / _VERIFIED, key, current)
    return sha256


def hub_record(path: Path) -> str | None:
    """The sha256 that the hub recorded: the name of the blob that a file links to.

    None for a small file, or one outside the hub's cache.
    """
    blob = path.resolve()
    is_blob = blob.parent.name == "blobs" and len(blob.name) == 64
    return blob.name if is_blob else None


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
