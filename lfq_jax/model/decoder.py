"""The decoder of the reconstructive subnetwork (paper 3.2; DRAEM's shapes)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lfq_jax.model.layers import ConvStack, conv, depth_to_space, upsample


class Decoder(nnx.Module):
    """Stages of bilinear doubling and three convolutions, the mirror of `Encoder`.

    The last convolution is linear, so the reconstruction may leave [0, 1]. The output
    of the untrained decoder is near the grey `level`. Features that the encoder gets
    beside the image are reconstructed as a second output.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        stem: int,
        features: int = 0,
        level: float = 0.0,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.stem = stem
        outputs = (*reversed(widths[:-2]), widths[0])
        inputs = (widths[-1], *outputs[:-1])
        self.stages = nnx.List(
            [
                ConvStack(i, i, i, o, dtype=dtype, rngs=rngs)
                for i, o in zip(inputs, outputs, strict=True)
            ]
        )
        self.pixels = 3 * stem * stem
        out = self.pixels + features
        self.head = conv(outputs[-1], out, dtype=dtype, rngs=rngs)
        bias = jnp.zeros(out).at[: self.pixels].set(level)
        self.head.bias = nnx.Param(bias)

    def __call__(
        self, z: Float[Array, "b h w c"], *, training: bool
    ) -> tuple[Float[Array, "b H W 3"], Float[Array, "b gh gw f"]]:
        for stage in self.stages:
            z = stage(upsample(z), training=training)
        both = self.head(z).astype(jnp.float32)
        image = depth_to_space(both[..., : self.pixels], self.stem)
        return image, both[..., self.pixels :]
