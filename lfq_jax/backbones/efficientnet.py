"""EfficientNet-Lite (Tan and Le 2019, and TensorFlow's release of Lite0 to Lite4).

Unlike EfficientNet, the Lite networks have no squeeze-and-excitation, ReLU6 instead of
swish, and a stem of fixed width. The names are those of the package
`efficientnet_lite_pytorch` (`_blocks.0._depthwise_conv.weight`) or of timm's
`tf_efficientnet_lite0` (`blocks.0.0.conv_dw.weight`). Batch norms are folded into their
convolutions.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jax.nn import relu6
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import DEVIATION, MEAN, Stage
from lfq_jax.backbones.layers import convolve, depthwise
from lfq_jax.backbones.weights_file import Tensors

_EPSILON = 1e-3  # epsilon of the batch norms
_STEM = 32  # channels of the first convolution
_DEPTHWISE = (".conv_dw.weight", "._depthwise_conv.weight")
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
"""Factors of the stages' widths and depths, by the number of the network."""


class _StageShape(NamedTuple):
    """One stage of Lite0: a row of table 1 of the paper."""

    depth: int
    width: int
    kernel: int
    stride: int
    """Stride of the first block."""
    expansion: int
    """Channels inside a block, as a multiple of its input."""


_STAGES = (
    _StageShape(1, 16, 3, 1, 1),
    _StageShape(2, 24, 3, 2, 6),
    _StageShape(2, 40, 5, 2, 6),
    _StageShape(3, 80, 3, 2, 6),
    _StageShape(3, 112, 5, 1, 6),
    _StageShape(4, 192, 5, 2, 6),
    _StageShape(1, 320, 3, 1, 6),
)


class _Block(NamedTuple):
    """One inverted residual block."""

    name: str
    inputs: int
    inner: int
    outputs: int
    kernel: int
    stride: int

    @property
    def has_skip(self) -> bool:
        return self.stride == 1 and self.inputs == self.outputs

    def kernels(self) -> list[tuple[str, tuple[int, int, int, int]]]:
        """Name and shape [h w in out] of each kernel, in order."""
        side = self.kernel
        found = [
            ("depthwise", (side, side, 1, self.inner)),
            ("project", (1, 1, self.inner, self.outputs)),
        ]
        if self.inner != self.inputs:
            found.insert(0, ("expand", (1, 1, self.inputs, self.inner)))
        return found


class _Convolution(NamedTuple):
    """One convolution with its batch norm, in the file's names."""

    name: str
    kernel: tuple[int, int, int, int]
    """Shape of the kernel, [h w in out]."""
    stored: str
    norm: str


@dataclass(frozen=True)
class EfficientNetLite:
    """A stem, and seven stages of inverted residual blocks."""

    variant: int
    """0 for Lite0, up to 4."""

    @property
    def name(self) -> str:
        return f"efficientnet_lite{self.variant}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        stride, found = 2, []
        for number, shape in enumerate(_STAGES, 1):
            stride *= shape.stride
            found.append(Stage(f"stage{number}", stride, self._width(shape)))
        return tuple(found)

    @property
    def default_stages(self) -> tuple[str, ...]:
        return "stage3", "stage5"

    @property
    def detector_stages(self) -> tuple[str, ...]:
        return "stage2", "stage3", "stage4", "stage5"

    def _width(self, shape: _StageShape) -> int:
        """Channels of a stage: scaled, to a multiple of 8, by at least 0.9 of it."""
        scaled = shape.width * _SCALES[self.variant][0]
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    def blocks(self) -> Iterator[tuple[_Block, ...]]:
        """The blocks of each stage. The first and the last stage have a fixed depth."""
        inputs = _STEM
        for number, shape in enumerate(_STAGES, 1):
            scale = _SCALES[self.variant][1]
            is_fixed = number in (1, len(_STAGES))
            depth = shape.depth if is_fixed else math.ceil(shape.depth * scale)
            found = []
            for block in range(depth):
                stride = shape.stride if block == 0 else 1
                name, width = f"stage{number}/{block}", self._width(shape)
                inner = inputs * shape.expansion
                found.append(_Block(name, inputs, inner, width, shape.kernel, stride))
                inputs = width
            yield tuple(found)

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        x = relu6(convolve(arrays, "stem", images, stride=2, padding="SAME"))
        for blocks in self.blocks():
            for block in blocks:
                x = _apply(arrays, block, x)
            yield x


def _apply(arrays: Mapping[str, Array], block: _Block, x: Array) -> Array:
    y = x
    if block.inner != block.inputs:
        y = relu6(convolve(arrays, f"{block.name}/expand", y))
    y = depthwise(arrays, f"{block.name}/depthwise", y, stride=block.stride)
    y = convolve(arrays, f"{block.name}/project", relu6(y))
    return x + y if block.has_skip else y


def read_efficientnet(
    tensors: Tensors,
) -> tuple[EfficientNetLite, dict[str, np.ndarray]] | None:
    """The architecture and its arrays, or None if the names are not EfficientNet's.

    Raises:
      ValueError: if a tensor is missing, has another shape, or is unknown.
    """
    if "_blocks.0._depthwise_conv.weight" in tensors:
        convolutions, others = _in_package, ("_conv_head.", "_bn1.", "_fc.")
    elif "blocks.0.0.conv_dw.weight" in tensors:
        convolutions, others = _in_timm, ("conv_head.", "bn2.", "classifier.")
    else:
        return None
    network = _network(tensors, convolutions)
    mean, deviation = (np.full(3, value / 255, np.float32) for value in (127, 128))
    arrays = {MEAN: mean, DEVIATION: deviation}
    for convolution in convolutions(network):
        kernel, bias = tensors.folded(
            convolution.stored, convolution.norm, convolution.kernel, epsilon=_EPSILON
        )
        arrays[f"{convolution.name}/kernel"] = kernel
        arrays[f"{convolution.name}/bias"] = bias
    tensors.refuse_others(others, endings=(".num_batches_tracked",))
    return network, arrays


_Names = Callable[["EfficientNetLite"], Iterator[_Convolution]]


def _network(tensors: Tensors, names: _Names) -> EfficientNetLite:
    """The network with as many blocks, and as many channels, as the file."""
    kernels = [n for n in tensors.names if n.endswith(_DEPTHWISE)]
    for network in map(EfficientNetLite, _SCALES):
        *_, last = names(network)
        has_depth = len(kernels) == sum(map(len, network.blocks()))
        if has_depth and tensors.shape(f"{last.stored}.weight")[0] == last.kernel[-1]:
            return network
    raise ValueError(
        f"{tensors.path} must hold EfficientNet-Lite0 to Lite{max(_SCALES)}, got "
        f"another EfficientNet, of {len(kernels)} blocks"
    )


def _in_package(network: EfficientNetLite) -> Iterator[_Convolution]:
    """The convolutions with the names of `efficientnet_lite_pytorch`."""
    yield _Convolution("stem", (3, 3, 3, _STEM), "_conv_stem", "_bn0")
    blocks = (block for stage in network.blocks() for block in stage)
    for number, block in enumerate(blocks):
        stored = f"_blocks.{number}"
        for name, kernel in block.kernels():
            norm = f"{stored}._bn{('expand', 'depthwise', 'project').index(name)}"
            convolution = f"{stored}._{name}_conv"
            yield _Convolution(f"{block.name}/{name}", kernel, convolution, norm)


def _in_timm(network: EfficientNetLite) -> Iterator[_Convolution]:
    """The convolutions with timm's names."""
    yield _Convolution("stem", (3, 3, 3, _STEM), "conv_stem", "bn1")
    for stage, blocks in enumerate(network.blocks()):
        for number, block in enumerate(blocks):
            kernels = block.kernels()
            stored = ("conv_pw", "conv_dw", "conv_pwl")
            if len(kernels) == 2:  # without expansion
                stored = ("conv_dw", "conv_pw")
            for norm, ((name, kernel), convolution) in enumerate(
                zip(kernels, stored, strict=True), 1
            ):
                place = f"blocks.{stage}.{number}"
                yield _Convolution(
                    f"{block.name}/{name}",
                    kernel,
                    f"{place}.{convolution}",
                    f"{place}.bn{norm}",
                )
