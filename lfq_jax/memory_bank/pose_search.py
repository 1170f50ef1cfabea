"""At which angle a part lies: the turns of a shot that look most like an image.

Parts such as screws, nuts and gears lie at any angle. Compared in place with shots that
lie otherwise, the whole part is far; turned by the right angle, the defect alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from lfq_jax.ops.rotation import rotate_image

STEP_DEG = 5
"""Between two turns that are tried. In place, a few degrees more or less are tried
anyhow (`MemoryBankConfig.turns_deg`)."""
_AXES = 16  # of the features, which are enough to tell turns apart
_SHIFT_CELLS = 2  # either way, in the coarse cells of two by two
_APART_DEG = 15  # turns that are nearer to each other count as one
_UPRIGHT_DEG = 5  # turns up to this are compared anyhow
_FITS = 1.5
"""How much farther than the best turn another may be. Parts that always lie alike are
2.5 to 15 times as far in any other turn; a gear, from tooth to tooth, 1.1 to 1.4."""


class Poses(NamedTuple):
    """How the shots look in every turn, coarsely."""

    axes: Float[Array, "f a"]
    """Principal axes of the features."""
    turned: Float[Array, "k t r s a"]
    """The shots' features in turns of `STEP_DEG`, in cells of two by two."""


def build_poses(
    shots: list[UInt8[np.ndarray, "h w 3"]],
    describe: Callable[[UInt8[np.ndarray, "h w 3"]], Float[Array, "gh gw f"]],
) -> Poses:
    """Every shot in every turn, as `describe` sees it."""
    described = [np.asarray(describe(shot), np.float64) for shot in shots]
    flat = np.concatenate([each.reshape(-1, each.shape[-1]) for each in described])
    _, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
    axes = jnp.asarray(vectors[:, ::-1][:, :_AXES].copy(), jnp.float32)

    def in_turns(shot: UInt8[np.ndarray, "h w 3"]) -> Array:
        turns = range(0, 360, STEP_DEG)
        images = [rotate_image(shot, float(turn)) for turn in turns]
        return jnp.stack([_coarse(describe(image), axes) for image in images])

    return Poses(axes, jnp.stack([in_turns(shot) for shot in shots]))


def _coarse(
    features: Float[Array, "h w f"], axes: Float[Array, "f a"]
) -> Float[Array, "h//2 w//2 a"]:
    h, w, _ = features.shape
    small = (features @ axes)[: h // 2 * 2, : w // 2 * 2]
    return small.reshape(h // 2, 2, w // 2, 2, -1).mean((1, 3))


def find_poses(
    poses: Poses, features: Float[Array, "h w f"], count: int
) -> tuple[Float[Array, "k n"], Bool[Array, "k n"]]:
    """For every shot, the turns other than upright in which it looks most like the
    image, best first; and whether each fits about as well as the best of all."""
    distances = _distances(poses.turned, _coarse(features, poses.axes))
    turns = np.arange(0, 360, STEP_DEG)
    best = distances.min(1, keepdims=True)
    from_upright = _apart(turns, 0)
    # A bent bolt that stands upright fits a shot turned by ten degrees rather well.
    is_upright = from_upright[distances.argmin(1)][:, None] <= _UPRIGHT_DEG
    taken = from_upright <= jnp.where(is_upright, _APART_DEG, _UPRIGHT_DEG)
    left = jnp.where(taken, jnp.inf, distances)
    found, fits = [], []
    for _ in range(count):
        nearest = left.argmin(1)
        turn = jnp.asarray(turns, jnp.float32)[nearest]
        found.append(turn)
        fits.append(left.min(1) <= _FITS * best[:, 0])
        taken = _apart(turns, turn[:, None]) < _APART_DEG
        left = jnp.where(taken, jnp.inf, left)
    return jnp.stack(found, 1), jnp.stack(fits, 1)


def _apart(turns: np.ndarray, turn: Array | int) -> Array:
    return jnp.abs((turns - turn + 180) % 360 - 180)


def _distances(
    turned: Float[Array, "k t r s a"], image: Float[Array, "r s a"]
) -> Float[Array, "k t"]:
    """Mean squared distance of the image from every turned shot, at the best shift."""
    rows, columns, _ = image.shape
    reach = min(_SHIFT_CELLS, (min(rows, columns) - 1) // 2)
    inner = turned[:, :, reach : rows - reach, reach : columns - reach]
    flat = inner.reshape(*inner.shape[:2], -1)
    shifts = range(2 * reach + 1)
    moved = jnp.stack(
        [
            image[i : rows - 2 * reach + i, j : columns - 2 * reach + j].ravel()
            for i in shifts
            for j in shifts
        ]
    )
    of_turned, of_moved = (flat**2).sum(-1), (moved**2).sum(-1)
    products = jnp.einsum("ktx,mx->ktm", flat, moved)
    squared = of_turned[..., None] + of_moved - 2 * products
    return squared.min(-1) / flat.shape[-1]
