"""SqueezeNet 1.1 (Iandola et al. 2016, the release of the authors' repository).

The names are those of the Caffe release (`fire2/squeeze1x1/w`, trained on BGR images
minus their mean) or of torchvision (`features.3.squeeze.weight`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.nn import relu
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import DEVIATION, MEAN, Stage
from lfq_jax.backbones.layers import convolve, max_pool_3x3
from lfq_jax.backbones.weights_file import Tensors, imagenet_input

_SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
_EXPANDED = {fire: 8 * channels for fire, channels in _SQUEEZED.items()}
_STRIDES = {2: 4, 3: 4, 4: 8, 5: 8, 6: 16, 7: 16, 8: 16, 9: 16}
_TORCHVISION = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)


@dataclass(frozen=True)
class SqueezeNet:
    """The convolution and eight fire modules of SqueezeNet 1.1."""

    @property
    def name(self) -> str:
        return "squeezenet1_1"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(f"fire{fire}", _STRIDES[fire], channels)
            for fire, channels in _EXPANDED.items()
        )

    @property
    def default_stages(self) -> tuple[str, ...]:
        return "fire5", "fire6", "fire9"

    @property
    def detector_stages(self) -> tuple[str, ...]:
        return "fire3", "fire5", "fire6", "fire9"

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        x = relu(convolve(arrays, "conv1", images, stride=2))
        stride = 2
        for fire in _EXPANDED:
            if _STRIDES[fire] > stride:
                x = max_pool_3x3(x, padding=0, ceil=True)
                stride = _STRIDES[fire]
            x = _fire(arrays, f"fire{fire}", x)
            yield x


def _fire(arrays: Mapping[str, Array], name: str, x: Array) -> Array:
    squeezed = relu(convolve(arrays, f"{name}/squeeze1x1", x))
    narrow = convolve(arrays, f"{name}/expand1x1", squeezed)
    wide = convolve(arrays, f"{name}/expand3x3", squeezed, padding=1)
    return relu(jnp.concatenate([narrow, wide], axis=-1))


def _kernels() -> dict[str, tuple[int, int, int, int]]:
    """Shape [h w in out] of every convolution's kernel."""
    found = {"conv1": (3, 3, 3, 64)}
    inputs = 64
    for fire, squeezed in _SQUEEZED.items():
        half = _EXPANDED[fire] // 2
        found[f"fire{fire}/squeeze1x1"] = (1, 1, inputs, squeezed)
        found[f"fire{fire}/expand1x1"] = (1, 1, squeezed, half)
        found[f"fire{fire}/expand3x3"] = (3, 3, squeezed, half)
        inputs = 2 * half
    return found


def read_squeezenet(
    tensors: Tensors,
) -> tuple[SqueezeNet, dict[str, np.ndarray]] | None:
    """The architecture and its arrays, or None if the names are not SqueezeNet's.

    Raises:
      ValueError: if a tensor is missing, has another shape, or is unknown.
    """
    if "fire2/squeeze1x1/w" in tensors:
        arrays = _taken(tensors, _caffe_name, ("w", "b"), "/")
        # From BGR in [0, 255], minus the mean, to RGB in [0, 1].
        arrays["conv1/kernel"] = arrays["conv1/kernel"][:, :, ::-1]
        mean = np.asarray(_CAFFE_MEAN_BGR[::-1], np.float32) / 255
        deviation = np.full(3, 1 / 255, np.float32)
        tensors.refuse_others(("conv10/",))
    elif "features.3.squeeze.weight" in tensors:
        arrays = _taken(tensors, _torchvision_name, ("weight", "bias"), ".")
        mean, deviation = imagenet_input()
        tensors.refuse_others(("classifier.",))
    else:
        return None
    return SqueezeNet(), arrays | {MEAN: mean, DEVIATION: deviation}


def _caffe_name(name: str) -> str:
    return name


def _torchvision_name(name: str) -> str:
    if name == "conv1":
        return "features.0"
    fire, convolution = name.removeprefix("fire").split("/")
    return f"features.{_TORCHVISION[int(fire)]}.{convolution}".replace(
        "squeeze1x1", "squeeze"
    )


def _taken(
    tensors: Tensors,
    rename: Callable[[str], str],
    suffixes: tuple[str, str],
    separator: str,
) -> dict[str, np.ndarray]:
    kernel_suffix, bias_suffix = (separator + suffix for suffix in suffixes)
    arrays = {}
    for name, shape in _kernels().items():
        stored = rename(name)
        arrays[f"{name}/kernel"] = tensors.kernel(stored + kernel_suffix, shape)
        arrays[f"{name}/bias"] = tensors.take(stored + bias_suffix, shape[-1:])
    return arrays
