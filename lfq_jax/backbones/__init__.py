"""Backbones: frozen, pretrained networks that extract features, read from a file.

backbone = load_backbone("squeezenet.npz")
fire3, fire5 = backbone.features(images, stages=("fire3", "fire5"))
"""

from lfq_jax.backbones.architecture import (
    default_stages,
    network_as_text,
    network_from_text,
)
from lfq_jax.backbones.backbone import Backbone, Network, Stage
from lfq_jax.backbones.load import load_backbone

__all__ = [
    "Backbone",
    "Network",
    "Stage",
    "default_stages",
    "load_backbone",
    "network_as_text",
    "network_from_text",
]
