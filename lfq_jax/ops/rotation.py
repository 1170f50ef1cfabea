"""Rotation of images and maps about their centre."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt8
from PIL import Image

_SHARPNESS = -0.5  # parameter of the cubic kernel, as in Keys (1981) and Pillow
_ONE = 2**14  # 1.0 in the fixed-point sines and cosines


def rotate_image(
    image: UInt8[np.ndarray, "h w 3"], turn_deg: float
) -> UInt8[np.ndarray, "h w 3"]:
    """The image rotated counter-clockwise; outside, the image is mirrored."""
    h, w, _ = image.shape
    diagonal = math.hypot(h, w)  # what a rotation by any angle may show
    down, right = (max(side // 4, int(diagonal - side) // 2) for side in (h, w))
    wide = np.pad(image, ((down, down), (right, right), (0, 0)), mode="reflect")
    turned = Image.fromarray(wide).rotate(turn_deg, resample=Image.Resampling.BICUBIC)
    return np.asarray(turned)[down : down + h, right : right + w]


def _origins(
    h: int, w: int, turn_deg: Float[Array, ""]
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Source row and column of each cell of the rotated image.

    Both are integer multiples of 2^-15 cells, computed without rounding. A compiler may
    compute them twice: once for the cell to read and once for its weight. Different
    roundings would sometimes put the two results on different sides of a cell boundary.
    """
    angle = turn_deg * (jnp.pi / 180)
    cosine = jnp.round(jnp.cos(angle) * _ONE).astype(jnp.int32)
    sine = jnp.round(jnp.sin(angle) * _ONE).astype(jnp.int32)
    y = jnp.arange(1 - h, h, 2)[:, None]  # from the centre, in half cells
    x = jnp.arange(1 - w, w, 2)[None]
    row = sine * x + cosine * y + (h - 1) * _ONE
    column = cosine * x - sine * y + (w - 1) * _ONE
    return row.astype(jnp.float32) / (2 * _ONE), column.astype(jnp.float32) / (2 * _ONE)


def _cubic(distance: Array) -> Array:
    a, x = _SHARPNESS, jnp.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return jnp.where(x <= 1, near, jnp.where(x < 2, far, 0.0))


def _linear(distance: Array) -> Array:
    return jnp.maximum(0.0, 1 - jnp.abs(distance))


def _mirrored(index: Array, size: int) -> Array:
    index = jnp.abs(index) % (2 * size - 2)
    return jnp.where(index < size, index, 2 * size - 2 - index)


def _taps(
    origin: Float[Array, "h w"],
    size: int,
    kernel: Callable[[Array], Array],
    reach: tuple[int, ...],
) -> list[tuple[Int32[Array, "h w"], Float[Array, "h w"]]]:
    """Index and weight of each cell that is read along one axis."""
    first = jnp.floor(origin)
    return [
        (_mirrored((first + i).astype(jnp.int32), size), kernel(origin - first - i))
        for i in reach
    ]


def rotate(
    image: Float[Array, "h w c"], turn_deg: Float[Array, ""], *, is_map: bool = False
) -> Float[Array, "h w c"]:
    """The image rotated counter-clockwise; outside, the image is mirrored.

    Images are interpolated cubically and clipped to [0, 1], maps (`is_map`) linearly.
    """
    h, w, _ = image.shape
    row, column = _origins(h, w, turn_deg)
    kernel, reach = (_linear, (0, 1)) if is_map else (_cubic, (-1, 0, 1, 2))
    across = _taps(column, w, kernel, reach)
    found = jnp.zeros_like(image)
    for rows, down in _taps(row, h, kernel, reach):
        for columns, weight in across:
            found += (down * weight)[..., None] * image[rows, columns]
    return found if is_map else jnp.clip(found, 0.0, 1.0)


def inside(h: int, w: int, turn_deg: Float[Array, ""]) -> Bool[Array, "h w"]:
    """True for cells of the rotated image whose source is inside the image."""
    row, column = _origins(h, w, turn_deg)
    near = (row >= 0) & (row <= h - 1) & (column >= 0) & (column <= w - 1)
    return jax.lax.stop_gradient(near)
