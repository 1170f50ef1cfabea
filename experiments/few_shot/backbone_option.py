"""The pretrained network of `--backbone`, in a run's settings and in its results."""

import dataclasses
from pathlib import Path

from experiments.few_shot.settings import FewShot
from lfq_jax.backbones import (
    default_stages,
    load_backbone,
    network_as_text,
    network_from_text,
)
from lfq_jax.config import BackboneConfig, ModelConfig


def with_backbone(settings: FewShot) -> FewShot:
    """The settings, with the network of `--backbone` in `model`."""
    if settings.backbone_path is None:
        return settings
    model = add_backbone(settings.model, settings.backbone_path)
    return dataclasses.replace(settings, model=model)


def add_backbone(model: ModelConfig, path: Path) -> ModelConfig:
    """`model`, which also compares the features of the network in the file at `path`.

    Raises:
      ValueError: the file holds no known network, the model compares nothing, or the
        run that is resumed had another network.
    """
    if model.memory_bank is None:
        raise ValueError(
            f"--backbone {path} needs a preset that compares images with the "
            "shots, as cpu and best do; this one learns from scratch, as the paper does"
        )
    network = load_backbone(path).network
    text = network_as_text(network)
    before = model.memory_bank.backbone
    if before is not None and before.network != text:
        raise ValueError(
            f"--backbone {path} holds {network.name}, but this run was "
            f"trained with {network_from_text(before.network).name}"
        )
    if before is not None:
        return model
    backbone = BackboneConfig(path, text, default_stages(network))
    bank = dataclasses.replace(model.memory_bank, backbone=backbone)
    return dataclasses.replace(model, memory_bank=bank)


def backbone_name(model: ModelConfig) -> str:
    """The name of the pretrained network in a line of results.jsonl, or `none`."""
    if model.memory_bank is None or model.memory_bank.backbone is None:
        return "none"
    return network_from_text(model.memory_bank.backbone.network).name
