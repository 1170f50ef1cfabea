"""How the lines of a texture run, over surroundings wider than a patch.

Light and contrast differ from photograph to photograph. How much of the edges runs in
which direction does not (orientation histograms, Freeman and Roth 1995), and it tells
where a surface was ground, woven or grown otherwise, too faintly for any single patch.
It tells regions, not spots: energies are averaged about cells of 16 pixels, and peaks
of the distance that are narrower than three cells are taken off.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.filters import derivatives, filtered, halved
from lfq_jax.memory import sample
from lfq_jax.nearest import from_anywhere
from lfq_jax.precision import exact_products

CELL_PX = 16
_OCTAVES = 2
_FLOOR = 1e-6  # of an energy: what is fainter than a quarter of a grey level is flat
_LEAST_DEVIATION = 1e-2  # distances are known to 1e-3


class Orientation(NamedTuple):
    """What the lines of an image are compared with. Arrays only."""

    patches: Float[Array, "n f"]
    """Of the shots."""
    mean: Float[Array, ""]
    """Of the distances on good parts, in what is as wide as three cells."""
    deviation: Float[Array, ""]
    """Of the distances on good parts, cell by cell."""


def describe_orientation(images: Float[Array, "b H W 3"]) -> Float[Array, "b gh gw f"]:
    """Logarithms of the energy in each direction, beside the mean of all directions.

    Edges and ridges, each in two octaves.
    """
    rows, columns = (max(1, side // CELL_PX) for side in images.shape[1:3])
    lightness = images.mean(-1, keepdims=True)
    found = []
    for octave in range(_OCTAVES):
        lightness = halved(lightness) if octave else lightness
        down, across = (
            _about_cells(size, cells)
            for size, cells in zip(lightness.shape[1:3], (rows, columns), strict=True)
        )
        energy = filtered(lightness, derivatives()) ** 2
        energy = jnp.einsum("ih,bhwc->biwc", down, energy)
        energy = jnp.einsum("jw,biwc->bijc", across, energy) + _FLOOR
        for of_kind in (energy[..., 0::2], energy[..., 1::2]):  # edges, ridges
            found.append(jnp.log(of_kind / of_kind.mean(-1, keepdims=True)))
    return jnp.concatenate(found, axis=-1)


def _about_cells(size: int, cells: int) -> np.ndarray:
    """Matrix [cells size]: Gaussian means about the centres of `cells` equal cells, as
    wide as one to either side."""
    cell = size / cells
    centres = (np.arange(cells) + 0.5) * cell - 0.5
    weights = np.exp(-0.5 * ((centres[:, None] - np.arange(size)) / cell) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


@exact_products
def remember_orientation(
    images: Sequence[UInt8[np.ndarray, "h w 3"]], *, count: int, seed: int
) -> Orientation:
    """At most `count` patches of `images`, drawn at random; good parts' distances are
    not known yet, and stand as 0 and 1."""
    described = jnp.concatenate([_described(image[None]) for image in images])
    patches = sample(described, count, seed=seed)
    return Orientation(patches, jnp.zeros(()), jnp.ones(()))


@jax.jit
def _described(images: UInt8[Array, "b h w 3"]) -> Array:
    return describe_orientation(images.astype(jnp.float32) / 255.0)


@exact_products
def usual_orientation(
    others: Sequence[Orientation], shots: Sequence[UInt8[np.ndarray, "h w 3"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and deviation of the distances of every shot from the others."""
    found = jnp.stack(
        [
            _distances(memory.patches, _described(shot[None])[0])
            for memory, shot in zip(others, shots, strict=True)
        ]
    )
    wide = jax.vmap(opened)(found)
    return wide.mean(), jnp.maximum(found.std(), _LEAST_DEVIATION)


def _distances(
    patches: Float[Array, "n f"], described: Float[Array, "gh gw f"]
) -> Float[Array, "gh gw"]:
    return jnp.log1p(jnp.sqrt(from_anywhere(described, patches).sum(-1)))


def opened(x: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Without what is narrower than three cells (a grey-scale opening)."""
    return _extreme(_extreme(x, jnp.minimum), jnp.maximum)


def _extreme(x: Float[Array, "h w"], pick) -> Float[Array, "h w"]:
    """Minima or maxima of 3 x 3 cells."""
    wide = jnp.pad(x, 1, mode="edge")
    rows = pick(pick(wide[:-2], wide[1:-1]), wide[2:])
    return pick(pick(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def strangeness(
    orientation: Orientation,
    image: Float[Array, "H W 3"],
    grid: tuple[int, ...],
) -> Float[Array, "h w"]:
    """How strangely the lines run about every cell of `grid`: in (-1, 1), 0 as on good
    parts, bounded since it knows where a defect is no better than to a cell."""
    described = describe_orientation(image[None])[0]
    found = opened(_distances(orientation.patches, described))
    standard = (found - orientation.mean) / orientation.deviation
    return jnp.tanh(jax.image.resize(standard, grid, "bilinear"))
