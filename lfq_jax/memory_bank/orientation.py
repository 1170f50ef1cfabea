"""Orientation of a texture's grain, compared over regions larger than a patch.

Light and contrast differ from photograph to photograph. The share of edge energy in
each direction does not (orientation histograms, Freeman and Roth 1995). It shows where
a surface was ground, woven or grown differently, too faintly for any single patch.

It detects regions, not spots. Energies are averaged over cells of 16 pixels, and peaks
of the distance that are narrower than three cells are removed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.memory_bank.filter_bank import (
    derivatives,
    filtered,
    halved,
    on_grid,
)
from lfq_jax.memory_bank.nearest_neighbours import nearest_anywhere
from lfq_jax.memory_bank.subsampling import sample
from lfq_jax.ops.precision import exact_products

CELL_PX = 16
_OCTAVES = 2
_FLOOR = 4e-6  # added to energies: half a grey level, about a camera's noise
_PATCHES = 8192  # all cells of two shots and their mirror images, at 512 px
_LEAST_DEVIATION = 1e-2  # distances have a precision of about 1e-3


class Orientation(NamedTuple):
    """What the orientation of an image's grain is compared with. Arrays only."""

    patches: Float[Array, "n f"]
    """Features of the shots, as `describe_orientation` computes them."""
    mean: Float[Array, ""]
    """Mean of log(1 + distance) on good parts, after `grey_opening`."""
    deviation: Float[Array, ""]
    """Standard deviation of log(1 + distance) over the cells of good parts."""


def describe_orientation(images: Float[Array, "b H W 3"]) -> Float[Array, "b gh gw f"]:
    """Log energy of each direction relative to the mean over directions, in every cell.

    Edges and ridges in four directions and two octaves: f = 16.

    Args:
      images: in [0, 1], with even sides. A cell has 16 x 16 pixels, or the whole side
        if that is shorter. If 16 does not divide a side, all cells are slightly larger.
    """
    rows, columns = (max(1, side // CELL_PX) for side in images.shape[1:3])
    lightness = images.mean(-1, keepdims=True)
    features = []
    for octave in range(_OCTAVES):
        lightness = halved(lightness) if octave else lightness
        energy = filtered(lightness, derivatives()) ** 2
        energy = on_grid(energy, rows, columns, sigma_of_cell) + _FLOOR
        edges, ridges = energy[..., 0::2], energy[..., 1::2]
        for directions in (edges, ridges):
            mean = directions.mean(-1, keepdims=True)
            features.append(jnp.log(directions / mean))
    return jnp.concatenate(features, axis=-1)


def sigma_of_cell(cell: float) -> float:
    """Standard deviation of the mean over a cell: the side of the cell."""
    return cell


@exact_products
def fit_orientation(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], *, seed: int
) -> Orientation:
    """The orientation features of `images`, at most 8192 cells drawn at random.

    `mean` and `deviation` are 0 and 1 until `fit_orientation_statistics` computes them.
    """
    parts = [np.asarray(_features(image[None])) for image in images]
    flat = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    patches = sample(flat, _PATCHES, seed=seed)
    return Orientation(patches, jnp.zeros(()), jnp.ones(()))


@jax.jit
def _features(images: UInt8[Array, "b h w 3"]) -> Array:
    return describe_orientation(images.astype(jnp.float32) / 255.0)


@exact_products
def fit_orientation_statistics(
    held_out: Sequence[Orientation], good: Sequence[UInt8[Array, "h w 3"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Compute `mean` and `deviation` from good parts.

    Args:
      held_out: for every good part, the orientation of the shots that the part was not
        made from.
      good: the good parts, augmented as in training. Noise, too, hides the grain.
    """
    pairs = [
        _distances_and_opening(orientation.patches, image)
        for orientation, image in zip(held_out, good, strict=True)
    ]
    distances, opened = (jnp.stack(maps) for maps in zip(*pairs, strict=True))
    return opened.mean(), jnp.maximum(distances.std(), _LEAST_DEVIATION)


@jax.jit
def _distances_and_opening(
    patches: Float[Array, "n f"], image: UInt8[Array, "h w 3"]
) -> tuple[Float[Array, "gh gw"], Float[Array, "gh gw"]]:
    """Distances of an image's cells, and the same distances without narrow peaks."""
    distances = _distances(patches, _features(image[None])[0])
    return distances, grey_opening(distances)


def _distances(
    patches: Float[Array, "n f"], features: Float[Array, "gh gw f"]
) -> Float[Array, "gh gw"]:
    return jnp.log1p(jnp.sqrt(nearest_anywhere(features, patches).sum(-1)))


def grey_opening(x: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """`x` without peaks narrower than three cells, or two at the border (grey-scale
    opening: Serra 1982)."""
    return _extreme(_extreme(x, jnp.minimum), jnp.maximum)


def _extreme(
    x: Float[Array, "h w"], pick: Callable[[Array, Array], Array]
) -> Float[Array, "h w"]:
    """Minima or maxima over 3 x 3 cells."""
    wide = jnp.pad(x, 1, mode="edge")
    rows = pick(pick(wide[:-2], wide[1:-1]), wide[2:])
    return pick(pick(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def orientation_deviation(
    orientation: Orientation,
    image: Float[Array, "H W 3"],
    grid: tuple[int, ...],
) -> Float[Array, "h w"]:
    """Standardized distance of the grain's orientation in every cell of `grid`.

    In (-1, 1), and about 0 on good parts. It is bounded because it locates a defect
    only to within a cell.

    Args:
      image: in [0, 1].
      grid: rows and columns.
    """
    features = describe_orientation(image[None])[0]
    distances = grey_opening(_distances(orientation.patches, features))
    standard = (distances - orientation.mean) / orientation.deviation
    # The channel axis is there because graph converters expect one.
    return jnp.tanh(
        jax.image.resize(standard[..., None], (*grid, 1), "bilinear")[..., 0]
    )
