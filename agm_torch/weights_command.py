"""The weights command: list the published weights, and fetch missing ones."""

import dataclasses
from collections.abc import Iterator

from agm_torch.command_line import Weights
from agm_torch.model_config import WeightsConfig
from agm_torch.weights.search import find_checkpoint, find_model, find_models
from agm_torch.weights.table import CHECKPOINTS, HUB_MODELS, WeightFile


def weights_command(command: Weights) -> int:
    """Run `python -m agm_torch weights`; returns the exit status."""
    if command.action == "list":
        for line in listing(command.generator.weights):
            print(line)
        return 0
    config = command.generator
    sam = config.grounded_sam if config.masks in ("auto", "grounded_sam") else None
    for _, found in find_models(
        config.weights, grounded_sam=sam, diffusion=config.diffusion
    ):
        print(f"{found.path}\n  {found.identity}")
    return 0


def listing(config: WeightsConfig) -> Iterator[str]:
    """Lines of the table, a few per model. Opens no connection."""
    offline = dataclasses.replace(config, offline=True)
    for entry in CHECKPOINTS.values():
        state = _state(find_checkpoint, entry.name, offline)
        yield f"{entry.name}: {state}; {entry.licence}"
        yield f"  {entry.address}"
        yield f"  {_described(entry.file)}"
    for model in HUB_MODELS.values():
        state = _state(find_model, model.name, offline)
        yield f"{model.name}: {state}; {model.licence}"
        yield f"  {model.address} at commit {model.revision}"
        for file in model.files:
            yield f"  {_described(file)}"


def _state(find, name: str, config: WeightsConfig) -> str:
    try:
        return f"here, verified, {find(name, config=config).path}"
    except FileNotFoundError:
        return "not here"
    except ValueError as error:
        return f"DAMAGED: {error}"


def _described(file: WeightFile) -> str:
    size = "" if file.size_bytes is None else f"{file.size_bytes:,} bytes, "
    return f"{file.name}: {size}sha256 {file.sha256 or 'not pinned here'}"
