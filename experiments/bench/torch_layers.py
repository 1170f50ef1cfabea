"""Layers that the PyTorch detector and the PyTorch training step share.

Images are NCHW tensors in channels_last.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

EPSILON = 1e-5  # of batch norms, flax's default
MOMENTUM = 0.1  # of their running statistics, in PyTorch's convention
LAST = torch.channels_last


def as_tensor(array: Any) -> torch.Tensor:
    """A copy of the array as a tensor."""
    return torch.from_numpy(np.array(array))


def tree_as_tensors(tree: Any) -> Any:
    """The tree as tensors: kernels as OIHW in channels_last, other arrays unchanged."""
    if isinstance(tree, dict):
        return {name: tree_as_tensors(child) for name, child in tree.items()}
    array = as_tensor(tree)
    if array.ndim == 4:
        array = array.permute(3, 2, 0, 1).contiguous(memory_format=LAST)
    return array


def conv(x: torch.Tensor, params: dict[str, torch.Tensor]) -> torch.Tensor:
    """A convolution with bias that keeps height and width."""
    kernel = params["kernel"]
    return F.conv2d(x, kernel, params["bias"], padding=kernel.shape[-1] // 2)


def apply_stage(
    x: torch.Tensor, params: Any, statistics: Any, *, training: bool = False
) -> torch.Tensor:
    """Repeated convolution, batch norm and ReLU. Training updates the statistics."""
    for i in sorted(params["units"]):
        unit, norm = params["units"][i], statistics["units"][i]["norm"]
        scale = unit["norm"]
        x = F.batch_norm(
            conv(x, unit["conv"]),
            norm["mean"],
            norm["var"],
            scale["scale"],
            scale["bias"],
            training=training,
            momentum=MOMENTUM,
            eps=EPSILON,
        )
        x = x.relu() if training else x.relu_()
    return x


def upsampled(x: torch.Tensor) -> torch.Tensor:
    """Bilinear upsampling by 2."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def space_to_depth(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Blocks of pixels as channels, in the order (row, column, colour)."""
    b, c, h, w = x.shape
    blocks = x.reshape(b, c, h // factor, factor, w // factor, factor)
    blocks = blocks.permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(b, -1, h // factor, w // factor).contiguous(
        memory_format=LAST
    )


def depth_to_space(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Channels as blocks of pixels, the inverse of `space_to_depth`."""
    b, _, h, w = x.shape
    blocks = x.reshape(b, factor, factor, -1, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(b, -1, h * factor, w * factor)
