"""Backbones: frozen, pretrained networks that extract features, by name or from a file.

backbone = load_backbone("efficientnet_lite0")
fine, coarse = backbone.features(images, stages=("stage3", "stage5"))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfq_jax.backbones.architecture import (
        default_stages,
        detector_stages,
        network_as_text,
        network_from_text,
    )
    from lfq_jax.backbones.backbone import Backbone, Network, Stage
    from lfq_jax.backbones.load import load_backbone

_HOMES = {
    "Backbone": "backbone",
    "Network": "backbone",
    "Stage": "backbone",
    "default_stages": "architecture",
    "detector_stages": "architecture",
    "load_backbone": "load",
    "network_as_text": "architecture",
    "network_from_text": "architecture",
}

__all__ = [
    "Backbone",
    "Network",
    "Stage",
    "default_stages",
    "detector_stages",
    "load_backbone",
    "network_as_text",
    "network_from_text",
]


def __getattr__(name: str) -> Any:
    """Import a name at its first use. The table of published weights needs no jax."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
