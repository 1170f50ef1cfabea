"""How the grain of a texture runs, over surroundings wider than a patch.

Light and contrast differ from photograph to photograph. How much of the edges runs in
which direction does not (orientation histograms, Freeman and Roth 1995), and it tells
where a surface was ground, woven or grown otherwise, too faintly for any single patch.
It tells regions, not spots: energies are averaged about cells of 16 pixels, and peaks
of the distance that are narrower than three cells are taken off.
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
_FLOOR = 4e-6  # of an energy: half a grey level, about that of a camera's noise
_PATCHES = 8192  # all of two shots and their mirrors, at 512 px
_LEAST_DEVIATION = 1e-2  # distances are known to 1e-3


class Orientation(NamedTuple):
    """What the grain of an image is compared with. Arrays only."""

    patches: Float[Array, "n f"]
    """Of the shots, as `describe_orientation` finds them."""
    mean: Float[Array, ""]
    """Of log(1 + distance) on good parts, `opened`."""
    deviation: Float[Array, ""]
    """Of log(1 + distance) on good parts, cell by cell."""


def describe_orientation(images: Float[Array, "b H W 3"]) -> Float[Array, "b gh gw f"]:
    """Logarithms of the energy in each direction, beside the mean of all directions.

    Edges and ridges in four directions and two octaves: f = 16.

    Args:
      images: in [0, 1], their sides even. A cell is of 16 x 16 pixels, or of the whole
        side where that is shorter; what is left at the end is shared among all.
    """
    rows, columns = (max(1, side // CELL_PX) for side in images.shape[1:3])
    lightness = images.mean(-1, keepdims=True)
    found = []
    for octave in range(_OCTAVES):
        lightness = halved(lightness) if octave else lightness
        energy = filtered(lightness, derivatives()) ** 2
        energy = on_grid(energy, rows, columns, sigma_of_cell) + _FLOOR
        for of_kind in (energy[..., 0::2], energy[..., 1::2]):  # edges, ridges
            found.append(jnp.log(of_kind / of_kind.mean(-1, keepdims=True)))
    return jnp.concatenate(found, axis=-1)


def sigma_of_cell(cell: float) -> float:
    """Of the mean about a cell: as wide as the cell to either side."""
    return cell


@exact_products
def fit_orientation(
    images: Sequence[UInt8[np.ndarray, "h w 3"]], *, seed: int
) -> Orientation:
    """The patches of `images`, of very many a part drawn at random; good parts'
    distances are not known yet, and stand as 0 and 1."""
    described = jnp.concatenate([_described(image[None]) for image in images])
    patches = sample(described, _PATCHES, seed=seed)
    return Orientation(patches, jnp.zeros(()), jnp.ones(()))


@jax.jit
def _described(images: UInt8[Array, "b h w 3"]) -> Array:
    return describe_orientation(images.astype(jnp.float32) / 255.0)


@exact_products
def fit_usual_orientation(
    others: Sequence[Orientation], good: Sequence[UInt8[Array, "h w 3"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """`mean` and `deviation` of good parts, each compared with the shots that it was
    not made from.

    They are varied as in training: noise, too, hides how grain runs.
    """
    found = [
        _from_others(memory.patches, image)
        for memory, image in zip(others, good, strict=True)
    ]
    distances, wide = (jnp.stack(each) for each in zip(*found, strict=True))
    return wide.mean(), jnp.maximum(distances.std(), _LEAST_DEVIATION)


@jax.jit
def _from_others(
    patches: Float[Array, "n f"], image: UInt8[Array, "h w 3"]
) -> tuple[Float[Array, "gh gw"], Float[Array, "gh gw"]]:
    """An image's distances, and what is left of them when peaks are taken off."""
    distances = _distances(patches, _described(image[None])[0])
    return distances, grey_opening(distances)


def _distances(
    patches: Float[Array, "n f"], described: Float[Array, "gh gw f"]
) -> Float[Array, "gh gw"]:
    return jnp.log1p(jnp.sqrt(nearest_anywhere(described, patches).sum(-1)))


def grey_opening(x: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Without peaks narrower than three cells, at the border than two (a grey-scale
    opening: Serra 1982)."""
    return _extreme(_extreme(x, jnp.minimum), jnp.maximum)


def _extreme(
    x: Float[Array, "h w"], pick: Callable[[Array, Array], Array]
) -> Float[Array, "h w"]:
    """Minima or maxima of 3 x 3 cells."""
    wide = jnp.pad(x, 1, mode="edge")
    rows = pick(pick(wide[:-2], wide[1:-1]), wide[2:])
    return pick(pick(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def orientation_deviation(
    orientation: Orientation,
    image: Float[Array, "H W 3"],
    grid: tuple[int, ...],
) -> Float[Array, "h w"]:
    """How strangely the grain runs about every cell of `grid`: in (-1, 1), about 0 on
    good parts, bounded since it knows where a defect is no better than to a cell.

    Args:
      image: in [0, 1].
      grid: rows and columns.
    """
    described = describe_orientation(image[None])[0]
    found = grey_opening(_distances(orientation.patches, described))
    standard = (found - orientation.mean) / orientation.deviation
    # with an axis for channels, which converters of graphs expect
    return jnp.tanh(
        jax.image.resize(standard[..., None], (*grid, 1), "bilinear")[..., 0]
    )
