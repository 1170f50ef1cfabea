"""The pretrained network of `--backbone`, in a run's settings and in its results."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.few_shot.settings import AUTO, FewShot
from experiments.run.backbone_weights import places
from lfq_jax.backbones import (
    default_stages,
    detector_stages,
    load_backbone,
    network_as_text,
    network_from_text,
)
from lfq_jax.backbones.published import NONE, PUBLISHED
from lfq_jax.backbones.search import (
    Places,
    find_weights,
    found_weights,
    how_to_get,
)
from lfq_jax.config import PRESETS, BackboneConfig, ModelConfig

if TYPE_CHECKING:
    from lfq_jax.backbones import Backbone


def with_backbone(settings: FewShot) -> FewShot:
    """The settings, with the network of `--backbone` in `model`.

    `auto` becomes the name of the network, or `none`, so that the run's files say which
    one it was.
    """
    where = places(offline=settings.offline)
    name = settings.backbone
    if name == AUTO:
        name = _preset_backbone(settings, where)
        settings = dataclasses.replace(settings, backbone=name)
    if name == NONE:
        return settings
    is_trained = settings.method == "lfquiad"
    model = add_backbone(settings.model, name, where, is_trained=is_trained)
    return dataclasses.replace(settings, model=model)


def _preset_backbone(settings: FewShot, where: Places) -> str:
    """The preset's backbone if its weights are on this machine, else `none`."""
    name = PRESETS[settings.preset].backbone
    if name == NONE or settings.model.memory_bank is None:
        return NONE
    entry = PUBLISHED[name]
    if found_weights(entry, where):
        return name
    from datasets.progress import write_line

    instead = (
        "trained from scratch"
        if settings.method == "lfquiad"
        else "compared by the filter bank"
    )
    write_line(
        f"{instead}: the weights of {name}, which preset {settings.preset} "
        f"uses, are not on this machine ({how_to_get(entry, where)}); --backbone "
        f"{NONE} says this on purpose"
    )
    return NONE


def add_backbone(
    model: ModelConfig,
    name_or_path: str | Path,
    where: Places | None = None,
    *,
    is_trained: bool = True,
) -> ModelConfig:
    """`model`, which also compares the features of a pretrained network.

    Args:
      name_or_path: a published name, or a file of weights.
      where: where the weights of a name are searched.
      is_trained: whether the detector is LFQUIAD, which compares more stages than the
        training-free detectors.

    Raises:
      ValueError: the weights are not usable, the model compares nothing, the network
        does not fit the images' size, or the run that is resumed had another network.
      OSError: the weights are missing and cannot be downloaded.
    """
    if model.memory_bank is None:
        raise ValueError(
            f"--backbone {name_or_path} needs a preset that compares images with the "
            "shots, as cpu and best do; this one learns from scratch, as the paper does"
        )
    network = load_backbone(name_or_path, where).network
    text = network_as_text(network)
    before = model.memory_bank.backbone
    if before is not None and before.network != text:
        raise ValueError(
            f"--backbone {name_or_path} holds {network.name}, but this run was "
            f"trained with {network_from_text(before.network).name}"
        )
    if before is not None:
        return model
    path = find_weights(name_or_path, where)
    stages = detector_stages(network) if is_trained else default_stages(network)
    backbone = BackboneConfig(path, text, stages)
    bank = dataclasses.replace(model.memory_bank, backbone=backbone)
    try:
        return dataclasses.replace(model, memory_bank=bank)
    except ValueError as error:
        raise ValueError(f"--backbone {name_or_path}: --model.{error}") from error


def load_named(settings: FewShot) -> "Backbone | None":
    """The pretrained network of a run, or None for a run from scratch."""
    if settings.backbone in (NONE, AUTO):
        return None
    return load_backbone(settings.backbone, places(offline=settings.offline))


def backbone_name(model: ModelConfig) -> str:
    """The name of the pretrained network in a line of results.jsonl, or `none`."""
    if model.memory_bank is None or model.memory_bank.backbone is None:
        return NONE
    return network_from_text(model.memory_bank.backbone.network).name
