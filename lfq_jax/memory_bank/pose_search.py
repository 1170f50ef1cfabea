"""Pose search: the rotations of a shot that are most similar to an image.

Parts such as screws, nuts and gears appear at any angle. If the shots have another
angle, the whole part has large distances in place. If the shots are rotated to the
right angle, only the defect has.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from lfq_jax.ops.rotation import rotate_image

STEP_DEG = 5
"""Degrees between two rotations of the search. A few degrees either way are compared in
place in any case (`MemoryBankConfig.turns_deg`)."""
_AXES = 16  # principal axes of the features: enough to distinguish rotations
_SHIFT_CELLS = 2  # largest shift in each direction, in coarse cells of 2 x 2
_APART_DEG = 15  # rotations closer to each other than this count as one
_UPRIGHT_DEG = 5  # rotations up to this are compared in any case
_FITS = 1.5
"""A rotation fits if its distance is at most this times the best rotation's distance.
For parts that always have the same angle, other rotations have 2.5 to 15 times the
distance. For a gear rotated by one tooth, the factor is 1.1 to 1.4."""


class Poses(NamedTuple):
    """Coarse features of the shots in every rotation."""

    axes: Float[Array, "f a"]
    """Principal axes of the features."""
    turned: Float[Array, "k t r s a"]
    """The shots' features in rotations of `STEP_DEG`, in coarse cells of 2 x 2."""


def build_poses(
    shots: list[UInt8[np.ndarray, "h w 3"]],
    describe: Callable[[UInt8[np.ndarray, "h w 3"]], Float[Array, "gh gw f"]],
) -> Poses:
    """The features that `describe` extracts from every shot in every rotation."""
    features = [np.asarray(describe(shot), np.float64) for shot in shots]
    flat = np.concatenate([shot.reshape(-1, shot.shape[-1]) for shot in features])
    _, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
    axes = jnp.asarray(vectors[:, ::-1][:, :_AXES].copy(), jnp.float32)

    def rotations(shot: UInt8[np.ndarray, "h w 3"]) -> Array:
        turns = range(0, 360, STEP_DEG)
        images = [rotate_image(shot, float(turn)) for turn in turns]
        return jnp.stack([_coarse(describe(image), axes) for image in images])

    return Poses(axes, jnp.stack([rotations(shot) for shot in shots]))


def _coarse(
    features: Float[Array, "h w f"], axes: Float[Array, "f a"]
) -> Float[Array, "h//2 w//2 a"]:
    h, w, _ = features.shape
    small = (features @ axes)[: h // 2 * 2, : w // 2 * 2]
    return small.reshape(h // 2, 2, w // 2, 2, -1).mean((1, 3))


def find_poses(
    poses: Poses, features: Float[Array, "h w f"], count: int
) -> tuple[Float[Array, "k n"], Bool[Array, "k n"]]:
    """The rotations of every shot that are most similar to the image, best first.

    Upright is excluded. Also returns whether each rotation fits about as well as the
    best of all rotations; see `_FITS`.
    """
    distances = _distances(poses.turned, _coarse(features, poses.axes))
    turns = np.arange(0, 360, STEP_DEG)
    best = distances.min(1, keepdims=True)
    from_upright = _apart(turns, 0)
    # An upright bent bolt fits a shot that is rotated by ten degrees rather well.
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
    """Mean squared distance of the image to every rotated shot, at the best shift."""
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
    flat_squares, moved_squares = (flat**2).sum(-1), (moved**2).sum(-1)
    products = jnp.einsum("ktx,mx->ktm", flat, moved)
    squared = flat_squares[..., None] + moved_squares - 2 * products
    return squared.min(-1) / flat.shape[-1]
