"""Operations of convolutional backbones. Channels last, kernels [h w in out]."""

import itertools
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
) -> Float[Array, "b i j d"]:
    """Convolution of x with `name`/kernel, plus `name`/bias.

    Args:
      x: maps of features.
      padding: cells on every side. `SAME` is TensorFlow's rule: as many cells as give
        ceil(side / stride) outputs; of an odd number the last side gets one more.
    """
    convolved = jax.lax.conv_general_dilated(
        x,
        arrays[f"{name}/kernel"],
        window_strides=(stride, stride),
        padding=padding if isinstance(padding, str) else [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return convolved + arrays[f"{name}/bias"]


def depthwise(
    arrays: Mapping[str, Array],
    name: str,
    x: Float[Array, "b h w c"],
    *,
    stride: int = 1,
) -> Float[Array, "b i j c"]:
    """Convolution with a kernel for every channel, padded as `SAME` in `convolve`.

    A sum of shifted products, which XLA fuses into one loop. On processors its own
    convolution of groups takes about twelve times as long.
    """
    kernel = arrays[f"{name}/kernel"]
    side = kernel.shape[0]
    counts = [-(-length // stride) for length in x.shape[1:3]]
    missing = [
        max((count - 1) * stride + side - length, 0)
        for count, length in zip(counts, x.shape[1:3], strict=True)
    ]
    pads = [(pad // 2, pad - pad // 2) for pad in missing]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = ((count - 1) * stride + 1 for count in counts)
    total = arrays[f"{name}/bias"]
    for i, j in itertools.product(range(side), repeat=2):
        part = x[:, i : i + rows : stride, j : j + columns : stride]
        total = total + part * kernel[i, j, 0]
    return total


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
