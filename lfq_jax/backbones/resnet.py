"""ResNets of basic or bottleneck blocks (He et al. 2016), including WideResNet-50-2.

The names are those of torchvision and timm (`layer1.0.conv1.weight`), and the stride is
in the 3x3 convolution as in both. Batch norms are folded into their convolutions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jax.nn import relu
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import DEVIATION, MEAN, Stage
from lfq_jax.backbones.layers import convolve, max_pool_3x3
from lfq_jax.backbones.weights_file import Tensors, imagenet_input

_EPSILON = 1e-5  # epsilon of torch's batch norm
_PLANES = (64, 128, 256, 512)
_NAMES: dict[tuple[tuple[int, ...], bool, int], str] = {
    ((2, 2, 2, 2), False, 64): "resnet18",
    ((3, 4, 6, 3), False, 64): "resnet34",
    ((3, 4, 6, 3), True, 64): "resnet50",
    ((3, 4, 23, 3), True, 64): "resnet101",
    ((3, 4, 6, 3), True, 128): "wide_resnet50_2",
    ((3, 4, 23, 3), True, 128): "wide_resnet101_2",
}


class _Convolution(NamedTuple):
    """One convolution with its batch norm."""

    name: str
    kernel: tuple[int, int, int, int]
    """Shape of the kernel, [h w in out]."""
    torch_name: str
    torch_norm: str


@dataclass(frozen=True)
class ResNet:
    """A stem, and four layers of residual blocks."""

    blocks: tuple[int, ...]
    """Number of blocks of each layer."""
    is_bottleneck: bool
    """Whether a block is 1x1, 3x3, 1x1 rather than 3x3, 3x3."""
    width: int = 64
    """Channels of the 3x3 convolutions of layer1; 128 in WideResNet."""

    @property
    def name(self) -> str:
        numbers = "-".join(map(str, self.blocks))
        kind = "bottleneck" if self.is_bottleneck else "basic"
        known = self.blocks, self.is_bottleneck, self.width
        return _NAMES.get(known, f"resnet_{kind}_{numbers}_width{self.width}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(f"layer{layer}", 2 ** (layer + 1), self._outputs(planes))
            for layer, planes in enumerate(_PLANES, 1)
        )

    @property
    def default_stages(self) -> tuple[str, ...]:
        return "layer2", "layer3"

    @property
    def detector_stages(self) -> tuple[str, ...]:
        return "layer1", "layer2", "layer3"

    def _outputs(self, planes: int) -> int:
        return 4 * planes if self.is_bottleneck else planes

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        x = relu(convolve(arrays, "conv1", images, stride=2, padding=3))
        x = max_pool_3x3(x, padding=1, ceil=False)
        for layer, count in enumerate(self.blocks, 1):
            for block in range(count):
                stride = 2 if layer > 1 and block == 0 else 1
                x = self._block(arrays, f"layer{layer}/{block}", x, stride)
            yield x

    def _block(
        self, arrays: Mapping[str, Array], name: str, x: Array, stride: int
    ) -> Array:
        first, second = f"{name}/conv1", f"{name}/conv2"
        if self.is_bottleneck:
            y = relu(convolve(arrays, first, x))
            y = relu(convolve(arrays, second, y, stride=stride, padding=1))
            y = convolve(arrays, f"{name}/conv3", y)
        else:
            y = relu(convolve(arrays, first, x, stride=stride, padding=1))
            y = convolve(arrays, second, y, padding=1)
        if f"{name}/downsample/kernel" in arrays:
            x = convolve(arrays, f"{name}/downsample", x, stride=stride)
        return relu(x + y)

    def convolutions(self) -> Iterator[_Convolution]:
        """Every convolution, with its name here and its name in torch."""
        yield _Convolution("conv1", (7, 7, 3, 64), "conv1", "bn1")
        inputs = 64
        for layer, (planes, count) in enumerate(
            zip(_PLANES, self.blocks, strict=True), 1
        ):
            outputs = self._outputs(planes)
            for block in range(count):
                torch_name = f"layer{layer}.{block}"
                shapes = self._kernels(planes, inputs)
                for number, kernel in enumerate(shapes, 1):
                    yield _Convolution(
                        f"layer{layer}/{block}/conv{number}",
                        kernel,
                        f"{torch_name}.conv{number}",
                        f"{torch_name}.bn{number}",
                    )
                if block == 0 and (layer > 1 or inputs != outputs):
                    yield _Convolution(
                        f"layer{layer}/{block}/downsample",
                        (1, 1, inputs, outputs),
                        f"{torch_name}.downsample.0",
                        f"{torch_name}.downsample.1",
                    )
                inputs = outputs

    def _kernels(self, planes: int, inputs: int) -> list[tuple[int, int, int, int]]:
        if not self.is_bottleneck:
            return [(3, 3, inputs, planes), (3, 3, planes, planes)]
        inner = planes * self.width // 64
        return [
            (1, 1, inputs, inner),
            (3, 3, inner, inner),
            (1, 1, inner, 4 * planes),
        ]


def read_resnet(tensors: Tensors) -> tuple[ResNet, dict[str, np.ndarray]] | None:
    """The architecture and its arrays, or None if the names are not a ResNet's.

    Raises:
      ValueError: if a tensor is missing, has another shape, or is unknown.
    """
    if "layer1.0.conv1.weight" not in tensors:
        return None
    is_bottleneck = "layer1.0.conv3.weight" in tensors
    width = tensors.shape("layer1.0.conv1.weight")[0] if is_bottleneck else 64
    network = ResNet(_blocks(tensors), is_bottleneck, width)
    mean, deviation = imagenet_input()
    arrays = {MEAN: mean, DEVIATION: deviation}
    for convolution in network.convolutions():
        kernel, bias = tensors.folded(
            convolution.torch_name,
            convolution.torch_norm,
            convolution.kernel,
            epsilon=_EPSILON,
        )
        arrays[f"{convolution.name}/kernel"] = kernel
        arrays[f"{convolution.name}/bias"] = bias
    tensors.refuse_others(("fc.",), endings=(".num_batches_tracked",))
    return network, arrays


def _blocks(tensors: Tensors) -> tuple[int, ...]:
    found = []
    for layer in range(1, len(_PLANES) + 1):
        count = 0
        while f"layer{layer}.{count}.conv1.weight" in tensors:
            count += 1
        found.append(max(1, count))  # so that a missing layer's first tensor is named
    return tuple(found)
