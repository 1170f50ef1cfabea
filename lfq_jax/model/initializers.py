"""Initial convolution kernels of both networks."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from lfq_jax.model.variables import Tree

DRAEM_DEVIATION = 0.02


def draw_kernels(
    params: Tree, key: PRNGKeyArray, *, kernels: Literal["draem", "he"]
) -> Tree:
    """The params with every convolution kernel drawn from a normal distribution.

    All kernels are cut from one long draw: a draw for each takes XLA 14 s to compile.
    """
    paths, tree = jax.tree.flatten_with_path(params)
    leaves = [leaf for _, leaf in paths]
    indices = [i for i, leaf in enumerate(leaves) if leaf.ndim == 4]
    sizes = [leaves[i].size for i in indices]
    drawn = jax.random.normal(key, (sum(sizes),))
    pieces = jnp.split(drawn, np.cumsum(sizes)[:-1])
    for i, piece in zip(indices, pieces, strict=True):
        path, leaf = paths[i]
        is_head = any(getattr(part, "key", None) == "head" for part in path)
        deviation = _deviation(leaf.shape, kernels=kernels, is_head=is_head)
        leaves[i] = deviation * piece.reshape(leaf.shape)
    return jax.tree.unflatten(tree, leaves)


def _deviation(
    shape: tuple[int, ...], *, kernels: Literal["draem", "he"], is_head: bool
) -> float:
    if kernels == "draem":
        return DRAEM_DEVIATION
    he = math.sqrt(2 / math.prod(shape[:-1]))
    return 0.1 * he if is_head else he  # the head's output starts near its bias
