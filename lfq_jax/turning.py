"""Images and maps turned about their middle."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image

_SHARPNESS = -0.5  # of the cubic kernel, as Keys (1981) and Pillow have it


def turned_photograph(
    image: UInt8[np.ndarray, "h w 3"], turn_deg: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Turned counter-clockwise; outside the image it goes on as in a mirror."""
    h, w, _ = image.shape
    down, right = h // 4, w // 4
    wide = np.pad(image, ((down, down), (right, right), (0, 0)), mode="reflect")
    turned = Image.fromarray(wide).rotate(turn_deg, resample=Image.Resampling.BICUBIC)
    return np.asarray(turned)[down : down + h, right : right + w]


def _origins(
    h: int, w: int, turn_deg: Float[Array, ""]
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Row and column that each cell of the turned image comes from."""
    angle = turn_deg * (jnp.pi / 180)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    y = (jnp.arange(h) - (h - 1) / 2)[:, None]
    x = (jnp.arange(w) - (w - 1) / 2)[None]
    row = sine * x + cosine * y + (h - 1) / 2
    column = cosine * x - sine * y + (w - 1) / 2
    return row, column


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


def turned(
    image: Float[Array, "h w c"], turn_deg: Float[Array, ""], *, is_map: bool = False
) -> Float[Array, "h w c"]:
    """Turned counter-clockwise, by cubic interpolation and in [0, 1]; a map: linear.

    Outside the image it goes on as in a mirror.
    """
    h, w, _ = image.shape
    row, column = _origins(h, w, turn_deg)
    kernel, reach = (_linear, (0, 1)) if is_map else (_cubic, (-1, 0, 1, 2))
    top, left = jnp.floor(row), jnp.floor(column)
    found = jnp.zeros_like(image)
    for i in reach:
        rows = _mirrored((top + i).astype(jnp.int32), h)
        down = kernel(row - top - i)
        for j in reach:
            columns = _mirrored((left + j).astype(jnp.int32), w)
            weight = down * kernel(column - left - j)
            found += weight[..., None] * image[rows, columns]
    return found if is_map else jnp.clip(found, 0.0, 1.0)


def inside(h: int, w: int, turn_deg: Float[Array, ""]) -> Bool[Array, "h w"]:
    """Which cells of the turned image come from inside the image."""
    row, column = _origins(h, w, turn_deg)
    near = (row >= 0) & (row <= h - 1) & (column >= 0) & (column <= w - 1)
    return jax.lax.stop_gradient(near)
