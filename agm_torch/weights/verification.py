"""Checks that weights on this machine are whole, by the sha256 of every file."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from agm_torch.model_config import WeightsConfig
from datasets.weights.verification import verified_sha256

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
    sha256 = verified_sha256(path, expected, records=config.directory)
    return Found(path, sha256)


def verified_folder(folder: Path, config: WeightsConfig) -> Found:
    """A folder that is in no table, identified by the hashes of all its files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(verified_file(path, None, config).identity.encode())
    return Found(folder, f"sha256:{digest.hexdigest()}")
