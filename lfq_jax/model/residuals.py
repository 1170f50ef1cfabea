"""How far an image and its features are from their reconstructions, cell by cell."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PIXEL_RESIDUALS = 4  # channels of `pixel_residual`


def pixel_residual(
    image: Float[Array, "b h w 3"], reconstruction: Float[Array, "b h w 3"], cell: int
) -> Float[Array, "b gh gw 4"]:
    """Difference of an image from its reconstruction in every cell of `cell` pixels.

    Three channels: the absolute difference of the cells' mean colours. The fourth: the
    mean absolute difference of their pixels. Scaled so that a visible difference is
    about 1.
    """
    b, h, w, _ = image.shape
    shape = (b, h // cell, cell, w // cell, cell, 3)
    difference = (image - reconstruction).reshape(shape)
    colour = jnp.abs(difference.mean((2, 4)))
    detail = jnp.abs(difference).mean((2, 4, 5))[..., None]
    return 10.0 * jnp.concatenate([colour, detail], axis=-1)


def feature_residual(
    features: Float[Array, "b gh gw f"],
    reconstructed: Float[Array, "b gh gw f"],
    sizes: tuple[int, ...],
) -> Float[Array, "b gh gw s"]:
    """Distance of a cell's features from their reconstruction, a channel a stage.

    Args:
      sizes: number of features of each stage. A stage's features have variance 1 in
        total.
    """
    difference = (features - reconstructed) ** 2
    stages = jnp.split(difference, np.cumsum(sizes)[:-1], axis=-1)
    # The floor keeps the gradient of the root finite.
    return jnp.sqrt(jnp.stack([x.sum(-1) for x in stages], axis=-1) + 1e-6)
