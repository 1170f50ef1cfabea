"""A pretrained encoder in a run's settings and in its result rows."""

import dataclasses
from pathlib import Path

from lfq_jax.backbones import (
    default_stages,
    load_backbone,
    network_as_text,
    network_from_text,
)
from lfq_jax.config import BackboneConfig, ModelConfig


def with_encoder(model: ModelConfig, path: Path) -> ModelConfig:
    """`model`, comparing the features of the network in the file at `path` too.

    Raises:
      ValueError: where the file holds no known network, or the model compares nothing,
        or a run that goes on had another network.
    """
    if model.memory_bank is None:
        raise ValueError(
            f"--encoder pretrained:{path} needs a preset that compares images with the "
            "shots, as cpu and best do; this one learns from scratch, as the paper does"
        )
    network = load_backbone(path).network
    text = network_as_text(network)
    before = model.memory_bank.backbone
    if before is not None and before.network != text:
        raise ValueError(
            f"--encoder pretrained:{path} holds {network.name}, but this run has "
            f"learnt with {network_from_text(before.network).name}"
        )
    if before is not None:
        return model
    encoder = BackboneConfig(path, text, default_stages(network))
    return dataclasses.replace(
        model, memory_bank=dataclasses.replace(model.memory_bank, encoder=encoder)
    )


def encoder_name(model: ModelConfig) -> str:
    """What a result row says of it."""
    if model.memory_bank is None or model.memory_bank.backbone is None:
        return "from scratch"
    return network_from_text(model.memory_bank.backbone.network).name
