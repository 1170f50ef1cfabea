"""The choice of patches that a memory bank keeps: at random, or as a coreset."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from lfq_jax.ops.precision import exact_products

PROJECTED = 128
"""Dimensions of the random projection in which a coreset is searched, as in PatchCore's
official implementation."""


def sample(
    features: Float[Array, "*b g"] | Float[np.ndarray, "*b g"], count: int, *, seed: int
) -> Float[Array, "n g"]:
    """At most `count` of the features, drawn at random, in their original order."""
    # numpy selects without compiling a program for every shape.
    flat = np.asarray(features).reshape(-1, features.shape[-1])
    chosen = np.random.default_rng(seed).permutation(len(flat))[:count]
    return jax.device_put(flat[np.sort(chosen)])


@functools.partial(jax.jit, static_argnames="count")
@exact_products
def farthest_first(
    points: Float[Array, "n f"], first: Int32[Array, ""], *, count: int
) -> Int32[Array, "m"]:
    """Indices of `count` points, each the farthest from the previous ones.

    Algorithm 1 of PatchCore (Roth et al. 2022).
    """

    def squared_distances_to(index: Array) -> Array:
        difference = points - points[index]
        return (difference * difference).sum(-1)

    def add(position: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        index = nearest.argmax().astype(jnp.int32)
        return chosen.at[position].set(index), jnp.minimum(
            nearest, squared_distances_to(index)
        )

    chosen = jnp.full(count, first, jnp.int32)
    return jax.lax.fori_loop(1, count, add, (chosen, squared_distances_to(first)))[0]


def coreset(
    patches: Float[Array, "n f"], share: float, seed: int
) -> Float[Array, "m f"]:
    """A share of the patches that covers all of them (searched in a projection)."""
    if share >= 1:
        return patches
    first_key, projection_key = jax.random.split(jax.random.key(seed))
    width = patches.shape[1]
    projection = jax.random.normal(projection_key, (width, min(PROJECTED, width)))
    first = jax.random.randint(first_key, (), 0, len(patches))
    count = max(1, round(share * len(patches)))
    return patches[farthest_first(patches @ projection, first, count=count)]
