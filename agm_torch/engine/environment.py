"""The environment that makes a folder's records, where models run.

The device, its number format, the libraries and the commits of the models decide bytes,
but are known only on the machine that makes them, so a folder's key lacks them. They
are recorded when a folder is begun. A process that resumes it must have the same, and
the manifest contains them. Without models nothing of this matters or is written.
"""

import fcntl
import importlib.metadata
import json
from pathlib import Path

from agm_torch.engine.job import Job
from datasets.files import writing

_FILE = "made_with.json"
_VERSIONS = ("numpy", "pillow", "scipy")
_TORCH_VERSIONS = ("torch", "diffusers", "transformers")


def library_versions(job: Job) -> dict[str, str]:
    """Versions of the libraries that can change a job's bytes."""
    names = _VERSIONS + (_TORCH_VERSIONS if job.loads_models else ())
    return {name: importlib.metadata.version(name) for name in names}


def environment(job: Job) -> dict[str, str]:
    """Device, number format, libraries and models of this machine, by name.

    Empty for a job that loads no models. Searches for them, as the generator does.
    """
    if not job.loads_models:
        return {}
    import torch

    from agm_torch.device import placement
    from agm_torch.weights.search import find_models

    device, dtype = placement(job.config.device)
    is_gpu = device.type == "cuda"
    sam, diffusion = job.config.models(job.kind)
    models = find_models(job.config.weights, grounded_sam=sam, diffusion=diffusion)
    return {
        "device": torch.cuda.get_device_name(device) if is_gpu else device.type,
        "dtype": str(dtype).removeprefix("torch."),
        **library_versions(job),
        **{model: found.identity for model, found in models},
    }


def require_same_environment(partial: Path, found: dict[str, str]) -> None:
    """Record the environment of a new folder, or require that of a begun one.

    Args:
      found: result of `environment`.

    Raises:
      ValueError: the folder was begun in another environment.
    """
    if not found:
        return
    path = partial / _FILE
    with writing(path), path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # workers may arrive together
        file.seek(0)
        text = file.read()
        if not text:
            file.write(json.dumps(found))
            return
    before = json.loads(text)
    names = [
        name for name in {**before, **found} if before.get(name) != found.get(name)
    ]
    if names:
        raise ValueError(
            f"{partial} was begun with {_listed(before, names)}; here "
            f"{_listed(found, names)} would make other bytes: resume where it was "
            "begun, or delete that folder"
        )


def recorded(partial: Path) -> dict[str, str]:
    """The environment that `require_same_environment` recorded, empty for none."""
    path = partial / _FILE
    return json.loads(path.read_text()) if path.exists() else {}


def forget_unless_begun(partial: Path) -> None:
    """Delete the recorded environment of a folder without records."""
    if not any(partial.glob("*.safetensors")):
        (partial / _FILE).unlink(missing_ok=True)


def _listed(values: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} {values.get(name, 'unknown')}" for name in names)
