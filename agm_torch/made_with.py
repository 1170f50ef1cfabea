"""What made the records where models run, as far as the key of a folder leaves it open.

The device, its number format, the libraries and the commits of the models decide bytes
too, and are known on the machine alone that makes them. They are written down when a
folder is begun, whoever goes on with it has to have the same, and the manifest holds
them. Without models nothing of this matters, and nothing is written.
"""

import fcntl
import importlib.metadata
import json
from pathlib import Path

from agm_torch.job import Job

_FILE = "made_with.json"
_VERSIONS = ("numpy", "pillow", "scipy")
_TORCH_VERSIONS = ("torch", "diffusers", "transformers")


def library_versions(job: Job) -> dict[str, str]:
    """The libraries whose versions can change a job's bytes."""
    names = _VERSIONS + (_TORCH_VERSIONS if job.loads_models else ())
    return {name: importlib.metadata.version(name) for name in names}


def made_with(job: Job) -> dict[str, str]:
    """Device, number format, libraries and models of this machine, by name.

    Empty for a job that loads no models. Finds the models, as the generator does.
    """
    if not job.loads_models:
        return {}
    import torch

    from agm_torch.device import placement
    from agm_torch.weights import find_models

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


def keep_to(partial: Path, found: dict[str, str]) -> None:
    """Begin a folder with what `made_with` found, or go on with the same.

    Raises:
      ValueError: the folder was begun with something else.
    """
    if not found:
        return
    with (partial / _FILE).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # workers come at once
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
            f"{_listed(found, names)} would make other bytes: go on where it was begun "
            "or delete that folder"
        )


def recorded(partial: Path) -> dict[str, str]:
    """What `keep_to` wrote, or nothing."""
    path = partial / _FILE
    return json.loads(path.read_text()) if path.exists() else {}


def forget_unless_begun(partial: Path) -> None:
    """Where no record was made yet, a folder may be begun with anything."""
    if not any(partial.glob("*.safetensors")):
        (partial / _FILE).unlink(missing_ok=True)


def _listed(values: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} {values.get(name, 'unknown')}" for name in names)
