"""Every supported backbone: one line for each architecture.

To add one, write a file with its `Network` and its reader, as `squeezenet.py` has them,
and add a line here.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lfq_jax.backbones.backbone import Network
from lfq_jax.backbones.dinov2 import VisionTransformer, read_vit
from lfq_jax.backbones.dinov3 import RotaryTransformer, read_rotary
from lfq_jax.backbones.efficientnet import EfficientNetLite, read_efficientnet
from lfq_jax.backbones.resnet import ResNet, read_resnet
from lfq_jax.backbones.squeezenet import SqueezeNet, read_squeezenet
from lfq_jax.backbones.weights_file import Tensors

Reader = Callable[[Tensors], tuple[Network, Mapping[str, np.ndarray]] | None]


class Architecture(NamedTuple):
    """One architecture, and how its weights are recognised and read."""

    network: type[Any]
    read: Reader
    """Network and arrays of a weights file; None for another architecture's file."""
    description: str
    """The architecture and the libraries whose files are read."""


ARCHITECTURES = (
    Architecture(
        EfficientNetLite,
        read_efficientnet,
        "EfficientNet-Lite (efficientnet_lite_pytorch, timm)",
    ),
    Architecture(SqueezeNet, read_squeezenet, "SqueezeNet 1.1"),
    Architecture(ResNet, read_resnet, "a ResNet (torchvision, timm)"),
    Architecture(VisionTransformer, read_vit, "DINOv2 (timm, Hugging Face)"),
    Architecture(RotaryTransformer, read_rotary, "DINOv3 (Hugging Face)"),
)
