"""TODO docstring of lfq_jax.model.lfquiad.residuals."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

RESIDUALS = 4  # channels of `residual_cells`


def residual_cells(
    image: Float[Array, "b h w 3"], reconstruction: Float[Array, "b h w 3"], cell: int
) -> Float[Array, "b gh gw 4"]:
    """How far an image is from its reconstruction, in every cell of `cell` pixels.

    Three channels: the difference of the cells' mean colours; the fourth: the mean
    absolute difference of their pixels. Scaled to be about 1 for a visible difference.
    """
    b, h, w, _ = image.shape
    shape = (b, h // cell, cell, w // cell, cell, 3)
    difference = (image - reconstruction).reshape(shape)
    colour = jnp.abs(difference.mean((2, 4)))
    detail = jnp.abs(difference).mean((2, 4, 5))[..., None]
    return 10.0 * jnp.concatenate([colour, detail], axis=-1)


def feature_residual(
    features: Float[Array, "b gh gw f"],
    given_back: Float[Array, "b gh gw f"],
    sizes: tuple[int, ...],
) -> Float[Array, "b gh gw s"]:
    """How far a cell's features are from what the decoder gives back, a channel a
    stage. A stage's features have variance 1 in all."""
    difference = (features - given_back) ** 2
    stages = jnp.split(difference, np.cumsum(sizes)[:-1], axis=-1)
    # The floor keeps the slope of the root finite.
    return jnp.sqrt(jnp.stack([x.sum(-1) for x in stages], axis=-1) + 1e-6)
