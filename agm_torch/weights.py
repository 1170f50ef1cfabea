"""Which published weights are used, where they come from, and whether they are whole.

Every file is looked for in this order: the path a user named, the folder of weights,
the caches of torch and of the Hugging Face hub; then it is downloaded, unless that is
forbidden. A file whose sha256 is not the expected one is refused.
"""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agm_torch.download import download
from agm_torch.extra import HUB, require_agm_extra
from agm_torch.model_config import DiffusionConfig, GroundedSamConfig, WeightsConfig
from agm_torch.weights_table import CHECKPOINTS, HUB_MODELS, HubModel
from datasets.files import file_sha256, write_atomically

logger = logging.getLogger(__name__)

_VERIFIED = "verified.json"
_WITHOUT_WEIGHTS = "--generator texture needs no weights"


class Found(NamedTuple):
    """A file or folder on this machine that has been checked."""

    path: Path
    identity: str
    """The file's sha256, or `owner/name@commit`, or a digest of a user's folder."""


def find_checkpoint(
    name_or_path: str, *, config: WeightsConfig, sha256: str | None = None
) -> Found:
    """A pickled checkpoint on this machine, its hash checked.

    Args:
      name_or_path: a name of `CHECKPOINTS`, or a file.
      sha256: what the file must have. Default: the table's, where the file has a
        name of the table; a user's own file is taken as it is and its hash recorded.

    Raises:
      FileNotFoundError: neither there nor to be had.
      OSError: the download failed.
      ValueError: the hash is not the expected one.
    """
    entry = CHECKPOINTS.get(name_or_path)
    if entry is None:
        path = _existing(name_or_path, kind="checkpoint", known=list(CHECKPOINTS))
        by_file_name = {entry.file.name: entry for entry in CHECKPOINTS.values()}
        known = by_file_name.get(path.name)
        return _checked(path, sha256 or (known and known.file.sha256), config)
    expected = sha256 or entry.file.sha256
    for folder in (config.directory, _torch_hub()):
        if (folder / entry.file.name).is_file():
            return _checked(folder / entry.file.name, expected, config)
    path = config.directory / entry.file.name
    if not config.may_connect:
        raise FileNotFoundError(
            f"{entry.file.name} ({_gigabytes(entry.file.size_bytes)}) is not on this "
            f"machine and connections are forbidden: fetch {entry.address} and put it "
            f"at {path}, or name a file; {_WITHOUT_WEIGHTS}"
        )
    download(entry.address, path, size_bytes=entry.file.size_bytes, sha256=expected)
    return _checked(path, expected, config)


def find_model(
    name_or_path: str, *, config: WeightsConfig, revision: str | None = None
) -> Found:
    """A folder of model files on this machine, its hashes checked.

    Args:
      name_or_path: a name of `HUB_MODELS`, a folder, or `owner/name` on the hub.
      revision: the hub's commit. Default: the table's.

    Raises:
      FileNotFoundError: neither there nor to be had.
      OSError: the download failed.
      ValueError: a hash is not the expected one.
    """
    entry = HUB_MODELS.get(name_or_path) or _by_repository(name_or_path)
    if entry is None and Path(name_or_path).is_dir():
        return _folder_of_users(Path(name_or_path), config)
    if entry is None and not _is_hub_name(name_or_path):
        _existing(name_or_path, kind="model", known=list(HUB_MODELS))
    entry = entry or HubModel(name_or_path, name_or_path, None, (), "its own")
    pinned = entry.revision
    if revision and revision != pinned:  # the pins are of another commit
        files = tuple(file._replace(sha256=None) for file in entry.files)
        entry = dataclasses.replace(entry, revision=revision, files=files)
    # Files under a model's name are of the table's commit, or of none that is known.
    is_of_table = not revision or revision == pinned
    place = entry.name if is_of_table else f"{entry.name}@{revision}"
    folder = config.directory / place
    if not _holds(folder, entry):
        folder = _hub_folder(entry, config, place=folder)
    for file in entry.files:
        _checked(
            folder / file.name, file.sha256 or _hub_record(folder / file.name), config
        )
    is_snapshot = folder.parent.name == "snapshots"  # of the hub, by its commit
    commit = folder.name if is_snapshot else entry.revision
    if commit is None:
        return _folder_of_users(folder, config)
    return Found(folder, f"{entry.repository}@{commit}")


def model_identities(
    config: WeightsConfig,
    *,
    grounded_sam: GroundedSamConfig | None,
    diffusion: DiffusionConfig | None,
) -> dict[str, str]:
    """What the chosen models are, wherever their files lie: hashes and commits.

    Opens no connection, and asks for no file that the table knows. As `Found.identity`
    of the same model, unless it is on the hub and no commit was named, or the table has
    no hash: then the name (`owner/name@main`) or the address stands for it.

    Raises:
      FileNotFoundError: a file or folder of a user's own is not there.
      ValueError: such a file does not have the hash that was asked for.
    """
    identities = {}
    if grounded_sam is not None:
        for name in ("sam", "dino"):
            chosen = getattr(grounded_sam, name)
            sha256 = getattr(grounded_sam, f"{name}_sha256")
            entry = CHECKPOINTS.get(chosen)
            identities[name] = (
                sha256 or entry.file.sha256 or entry.address
                if entry
                else find_checkpoint(chosen, config=config, sha256=sha256).identity
            )
        identities["bert"] = _model_identity(grounded_sam.bert, None, config)
    if diffusion is not None:
        identities["diffusion"] = _model_identity(
            diffusion.model_name, diffusion.revision, config
        )
        if diffusion.clip_margin is not None:
            identities["clip"] = _model_identity(diffusion.clip, None, config)
    return identities


def find_models(
    config: WeightsConfig,
    *,
    grounded_sam: GroundedSamConfig | None,
    diffusion: DiffusionConfig | None,
) -> Iterator[tuple[str, Found]]:
    """The chosen models on this machine by their names, fetched where they are missing.

    Raises:
      FileNotFoundError, OSError, ValueError: as `find_checkpoint` and `find_model`.
    """
    if grounded_sam is not None:
        sam = grounded_sam
        yield "bert", find_model(sam.bert, config=config)
        yield "dino", find_checkpoint(sam.dino, config=config, sha256=sam.dino_sha256)
        yield "sam", find_checkpoint(sam.sam, config=config, sha256=sam.sam_sha256)
    if diffusion is not None:
        name, revision = diffusion.model_name, diffusion.revision
        yield "diffusion", find_model(name, config=config, revision=revision)
        if diffusion.clip_margin is not None:
            yield "clip", find_model(diffusion.clip, config=config)


def load_checkpoint(found: Found) -> dict[str, Any]:
    """The tensors of a checked `.pth` file. Nothing in it is executed.

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


def _model_identity(name: str, revision: str | None, config: WeightsConfig) -> str:
    entry = HUB_MODELS.get(name) or _by_repository(name)
    if entry is None and not Path(name).is_dir() and _is_hub_name(name):
        return f"{name}@{revision or 'main'}"
    if entry is None:
        return find_model(name, config=config).identity
    return f"{entry.repository}@{revision or entry.revision}"


def _checked(path: Path, expected: str | None, config: WeightsConfig) -> Found:
    """Hash a file, once: what was hashed and not touched since is remembered."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {_WITHOUT_WEIGHTS}")
    remembered = config.directory / _VERIFIED
    stat = path.stat()
    key = str(path.resolve())
    seen = _read_json(remembered)
    size, mtime, sha256 = seen.get(key, (None, None, ""))
    if (size, mtime) != (stat.st_size, stat.st_mtime_ns):
        sha256 = file_sha256(path)
    if expected is not None and sha256 != expected.lower():
        raise ValueError(
            f"{path} has sha256 {sha256}, expected {expected.lower()}: refused; delete "
            "it to fetch it again"
        )
    if seen.get(key) != [stat.st_size, stat.st_mtime_ns, sha256]:
        _remember(remembered, key, [stat.st_size, stat.st_mtime_ns, sha256])
    return Found(path, sha256)


def _remember(path: Path, key: str, value: list) -> None:
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


def _existing(name_or_path: str, *, kind: str, known: list[str]) -> Path:
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{kind} {name_or_path!r} is neither a file or folder here nor one of "
            f"{', '.join(known)}; {_WITHOUT_WEIGHTS}"
        )
    return path


def _folder_of_users(folder: Path, config: WeightsConfig) -> Found:
    """A folder that is in no table: known by the hashes of all that is in it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(_checked(path, None, config).identity.encode())
    return Found(folder, f"sha256:{digest.hexdigest()}")


def _hub_folder(entry: HubModel, config: WeightsConfig, *, place: Path) -> Path:
    require_agm_extra(HUB)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted: dict[str, Any] = {
        "repo_id": entry.repository,
        "revision": entry.revision,
        "allow_patterns": [file.name for file in entry.files] or None,
        "ignore_patterns": ["*.bin", "*.ckpt", "*.msgpack", "*.h5", "*.onnx"],
    }
    # A snapshot of which no files are known may be a download that was broken off:
    # only the hub can tell.
    if entry.files or not config.may_connect:
        try:
            folder = Path(snapshot_download(**wanted, local_files_only=True))
            if _holds(folder, entry):
                return folder
        except LocalEntryNotFoundError:
            pass
    if not config.may_connect:
        raise FileNotFoundError(
            f"{entry.repository} is not in the Hugging Face cache of this machine and "
            f"connections are forbidden: fetch {', '.join(_weights(entry))} and the "
            f"rest of {entry.address}/tree/{entry.revision or 'main'} into "
            f"{place}, or name a folder; {_WITHOUT_WEIGHTS}"
        )
    try:
        return Path(snapshot_download(**wanted))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"cannot fetch {entry.address}: {reason}") from error


def _weights(entry: HubModel) -> list[str]:
    names = [file.name for file in entry.files]
    return [name for name in names if name.endswith(".safetensors")] or names


def _holds(folder: Path, entry: HubModel) -> bool:
    return folder.is_dir() and all(
        (folder / file.name).exists() for file in entry.files
    )


def _hub_record(path: Path) -> str | None:
    """The sha256 that the hub recorded: the name of the blob a large file links to."""
    blob = path.resolve()
    is_blob = blob.parent.name == "blobs" and len(blob.name) == 64
    return blob.name if is_blob else None


def _by_repository(name: str) -> HubModel | None:
    return next((m for m in HUB_MODELS.values() if m.repository == name), None)


def _is_hub_name(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))


def _torch_hub() -> Path:
    home = os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch"
    return Path(home) / "hub" / "checkpoints"


def _gigabytes(size_bytes: int | None) -> str:
    return "size not known" if size_bytes is None else f"{size_bytes / 1e9:.1f} GB"
