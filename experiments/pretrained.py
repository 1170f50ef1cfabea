"""A pretrained encoder in a run's settings and in its result rows."""

import dataclasses
from pathlib import Path

from lfq_jax.config import ModelConfig
from lfq_jax.encoders import (
    default_stages,
    load_encoder,
    network_as_text,
    network_from_text,
)
from lfq_jax.reference_config import EncoderConfig


def with_encoder(model: ModelConfig, path: Path) -> ModelConfig:
    """`model`, comparing the features of the network in the file at `path` too.

    Raises:
      ValueError: where the file holds no known network, or the model compares nothing,
        or a run that goes on had another network.
    """
    if model.reference is None:
        raise ValueError(
            f"--encoder pretrained:{path} needs a preset that compares images with the "
            "shots, as cpu and best do; this one learns from scratch, as the paper does"
        )
    network = load_encoder(path).network
    text = network_as_text(network)
    before = model.reference.encoder
    if before is not None and before.network != text:
        raise ValueError(
            f"--encoder pretrained:{path} holds {network.name}, but this run has "
            f"learnt with {network_from_text(before.network).name}"
        )
    if before is not None:
        return model
    encoder = EncoderConfig(path, text, default_stages(network))
    return dataclasses.replace(
        model, reference=dataclasses.replace(model.reference, encoder=encoder)
    )


def encoder_name(model: ModelConfig) -> str:
    """What a result row says of it."""
    if model.reference is None or model.reference.encoder is None:
        return "from scratch"
    return network_from_text(model.reference.encoder.network).name
