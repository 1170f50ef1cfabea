"""Frozen, pretrained networks that say what an image shows, read from a file.

encoder = load_encoder("squeezenet.npz")
fire3, fire5 = encoder.features(images, stages=("fire3", "fire5"))
"""

from lfq_jax.encoders.encoder import Encoder, Network, Stage
from lfq_jax.encoders.load import load_encoder
from lfq_jax.encoders.network_text import (
    default_stages,
    network_as_text,
    network_from_text,
)

__all__ = [
    "Encoder",
    "Network",
    "Stage",
    "default_stages",
    "load_encoder",
    "network_as_text",
    "network_from_text",
]
