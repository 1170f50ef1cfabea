"""The encoder of the reconstructive subnetwork (paper 3.2; DRAEM's shapes)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lfq_jax.model.layers import ConvStack, max_pool, space_to_depth


class Encoder(nnx.Module):
    """Stages of two convolutions, with a max-pool between stages; no skips.

    [b h w 3] -> [b h2 w2 c] with h2 = h/d, w2 = w/d and d = stem * 2^(stages - 1).
    Features of every cell of `stem` pixels may be a second input.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        stem: int,
        features: int = 0,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.stem = stem
        channels = (3 * stem * stem + features, *widths)
        self.stages = nnx.List(
            [
                ConvStack(channels[i], width, width, dtype=dtype, rngs=rngs)
                for i, width in enumerate(widths)
            ]
        )

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        features: Float[Array, "b gh gw f"],
        *,
        training: bool,
    ) -> Float[Array, "b h2 w2 c"]:
        x = space_to_depth(image, self.stem)
        x = jnp.concatenate([x, features], axis=-1) if features.shape[-1] else x
        for i, stage in enumerate(self.stages):
            x = max_pool(x) if i else x
            x = stage(x, training=training)
        return x
