"""Finds weights on this machine, or downloads them.

The places are searched in this order: the path that the user named, the folder of
weights, the caches of torch and of the Hugging Face hub. Then the file is downloaded,
unless that is forbidden. A file with an unexpected sha256 is refused.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agm_torch.cache_folder import (
    home_folder,
    hub_cache_folder,
    torch_cache_folder,
)
from agm_torch.extra import HUB, require_agm_extra
from agm_torch.model_config import DiffusionConfig, GroundedSamConfig, WeightsConfig
from agm_torch.weights.table import (
    CHECKPOINTS,
    HUB_MODELS,
    HubModel,
    is_hub_name,
    known_model,
)
from agm_torch.weights.verification import (
    WITHOUT_WEIGHTS,
    Found,
    verified_file,
    verified_folder,
)
from datasets.weights.download import download
from datasets.weights.sizes import file_size
from datasets.weights.verification import hub_record


def find_checkpoint(
    name_or_path: str, *, config: WeightsConfig, sha256: str | None = None
) -> Found:
    """A pickled checkpoint on this machine, with its hash checked.

    Args:
      name_or_path: a name of `CHECKPOINTS`, or a file.
      sha256: required hash. Default: the table's, for a file with a name of the table.
        Any other file of a user is accepted, and its hash recorded.

    Raises:
      FileNotFoundError: the file is missing and may not be downloaded.
      OSError: the download failed.
      ValueError: the hash is not the expected one.
    """
    entry = CHECKPOINTS.get(name_or_path)
    if entry is None:
        path = _existing(name_or_path, kind="checkpoint", known=list(CHECKPOINTS))
        by_file_name = {entry.file.name: entry for entry in CHECKPOINTS.values()}
        known = by_file_name.get(path.name)
        return verified_file(path, sha256 or (known and known.file.sha256), config)
    expected = sha256 or entry.file.sha256
    for folder in (config.directory, _torch_hub()):
        if folder and (folder / entry.file.name).is_file():
            return verified_file(folder / entry.file.name, expected, config)
    path = config.directory / entry.file.name
    if not config.may_connect:
        raise FileNotFoundError(
            f"{entry.file.name} ({file_size(entry.file.size_bytes)}) is not on this "
            f"machine and connections are forbidden: fetch {entry.address} and put it "
            f"at {path}, or name a file; {WITHOUT_WEIGHTS}"
        )
    download(entry.address, path, size_bytes=entry.file.size_bytes, sha256=expected)
    return verified_file(path, expected, config)


def find_model(
    name_or_path: str, *, config: WeightsConfig, revision: str | None = None
) -> Found:
    """A folder of model files on this machine, with their hashes checked.

    Args:
      name_or_path: a name of `HUB_MODELS`, a folder, or `owner/name` on the hub.
      revision: commit on the hub. Default: the table's.

    Raises:
      FileNotFoundError: the folder is missing and may not be downloaded.
      OSError: the download failed.
      ValueError: a hash is not the expected one.
    """
    entry = known_model(name_or_path)
    if entry is None and Path(name_or_path).is_dir():
        return verified_folder(Path(name_or_path), config)
    if entry is None and not is_hub_name(name_or_path):
        _existing(name_or_path, kind="model", known=list(HUB_MODELS))
    entry = entry or HubModel(name_or_path, name_or_path, None, (), "its own")
    pinned = entry.revision
    if revision and revision != pinned:  # the hashes are those of another commit
        files = tuple(file._replace(sha256=None) for file in entry.files)
        entry = dataclasses.replace(entry, revision=revision, files=files)
    # The files in a folder without "@" are of the table's commit, or of an unknown one.
    is_of_table = not revision or revision == pinned
    place = entry.name if is_of_table else f"{entry.name}@{revision}"
    folder = config.directory / place
    if not _holds(folder, entry):
        folder = _hub_folder(entry, config, place=folder)
    for file in entry.files:
        verified_file(
            folder / file.name, file.sha256 or hub_record(folder / file.name), config
        )
    is_snapshot = folder.parent.name == "snapshots"  # of the hub, named by its commit
    commit = folder.name if is_snapshot else entry.revision
    if commit is None:
        return verified_folder(folder, config)
    return Found(folder, f"{entry.repository}@{commit}")


def find_models(
    config: WeightsConfig,
    *,
    grounded_sam: GroundedSamConfig | None,
    diffusion: DiffusionConfig | None,
) -> Iterator[tuple[str, Found]]:
    """The chosen models on this machine by their names, downloaded where missing.

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


def _existing(name_or_path: str, *, kind: str, known: list[str]) -> Path:
    """The file of this path. Refuses a name that is neither a file nor known."""
    path = home_folder(name_or_path)
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"{kind} {name_or_path!r} is neither a file or folder here nor one of "
            f"{', '.join(known)}; {WITHOUT_WEIGHTS}"
        )
    return path


def _hub_folder(entry: HubModel, config: WeightsConfig, *, place: Path) -> Path:
    """A model's folder in the cache of the hub, downloaded where it is missing.

    Args:
      place: where the files may be put by hand, for the message.
    """
    require_agm_extra(HUB)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted: dict[str, Any] = {
        "repo_id": entry.repository,
        "revision": entry.revision,
        "allow_patterns": [file.name for file in entry.files] or None,
        "ignore_patterns": ["*.bin", "*.ckpt", "*.msgpack", "*.h5", "*.onnx"],
        "cache_dir": hub_cache_folder(),
    }
    # Without a list of files, a snapshot may be a download that broke off. Only the
    # hub knows.
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
            f"{place}, or name a folder; {WITHOUT_WEIGHTS}"
        )
    try:
        return Path(snapshot_download(**wanted))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"cannot fetch {entry.address}: {reason}") from error


def _weights(entry: HubModel) -> list[str]:
    """Names of the files with weights, or of all files where no name shows them."""
    names = [file.name for file in entry.files]
    return [name for name in names if name.endswith(".safetensors")] or names


def _holds(folder: Path, entry: HubModel) -> bool:
    return folder.is_dir() and all(
        (folder / file.name).exists() for file in entry.files
    )


def _torch_hub() -> Path | None:
    cache = torch_cache_folder()
    return cache and cache / "hub" / "checkpoints"
