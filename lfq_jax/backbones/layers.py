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
    convolved = jax.lax.conv_general_dilated(
        x,
        arrays[f"{name}/kernel"],
        window_strides=(stride, stride),
        padding=padding if padding == "SAME" else [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] if depthwise else 1,
    )
    return convolved + arrays[f"{name}/bias"]


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
