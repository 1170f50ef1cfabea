"""Operations of convolutional backbones. Channels last, kernels [h w in out]."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def convolve(
    arrays: Mapping[str, Array],
    name: str,
    x: Float[Array, "b h w c"],
    *,
    stride: int = 1,
    padding: int | Literal["SAME"] = 0,
    depthwise: bool = False,
) -> Float[Array, "b i j d"]:
    """Convolution of x with `name`/kernel, plus `name`/bias.

    Args:
      x: maps of features.
      padding: cells on every side. `SAME` is TensorFlow's rule: as many cells as give
        ceil(side / stride) outputs; of an odd number the last side gets one more.
      depthwise: whether every channel has a kernel of its own.
    """
    kernel, bias = arrays[f"{name}/kernel"], arrays[f"{name}/bias"]
    sides = [
        _same(x.shape[axis], kernel.shape[axis - 1], stride)
        if padding == "SAME"
        else (padding, padding)
        for axis in (1, 2)
    ]
    if depthwise:
        return _each_channel(x, kernel, stride=stride, sides=sides) + bias
    convolved = jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=sides,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return convolved + bias


def _same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Cells of TensorFlow's padding `SAME` before and after a side."""
    missing = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return missing // 2, missing - missing // 2


def _each_channel(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k 1 c"],
    *,
    stride: int,
    sides: list[tuple[int, int]],
) -> Float[Array, "b i j c"]:
    """Convolution of every channel with a kernel of its own, as a sum of shifted maps.

    On a CPU this is five times faster than XLA's grouped convolution.
    """
    x = jnp.pad(x, ((0, 0), *sides, (0, 0)))
    side = kernel.shape[0]
    rows, columns = ((n - side) // stride * stride + 1 for n in x.shape[1:3])
    taps = [
        x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j, 0]
        for i in range(side)
        for j in range(side)
    ]
    return sum(taps[1:], taps[0])


def max_pool_3x3(
    x: Float[Array, "b h w c"], *, padding: int, ceil: bool
) -> Float[Array, "b i j c"]:
    """Maximum over 3x3 windows with stride 2, as torch's `MaxPool2d(3, 2)`.

    Args:
      x: maps of features.
      padding: cells of padding around the map, which no maximum takes.
      ceil: whether an incomplete last window counts.
    """
    for axis in (1, 2):
        x = _max_of_three(x, axis, padding, ceil)
    return x


def _max_of_three(x: Array, axis: int, padding: int, ceil: bool) -> Array:
    beyond = x.shape[axis] + 2 * padding - 3
    count = (-(-beyond // 2) if ceil else beyond // 2) + 1
    missing = max(0, 2 * count + 1 - (x.shape[axis] + padding))
    pads = [(0, 0)] * x.ndim
    pads[axis] = (padding, missing)
    x = jnp.pad(x, pads, constant_values=-jnp.inf)
    parts = [
        jax.lax.slice_in_dim(x, start, start + 2 * count - 1, stride=2, axis=axis)
        for start in range(3)
    ]
    return jnp.maximum(jnp.maximum(parts[0], parts[1]), parts[2])
