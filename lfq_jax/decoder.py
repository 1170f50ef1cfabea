"""The decoder of the reconstructive subnetwork (paper 3.2; DRAEM's shapes)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lfq_jax.layers import Stage, conv, depth_to_space, upsample


class Decoder(nnx.Module):
    """Bilinear x2 and three convolutions a stage, the mirror of `Encoder`.

    The last convolution is linear: the reconstruction may leave [0, 1]. `level` is the
    grey that the untrained decoder begins near.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        stem: int,
        level: float = 0.0,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.stem = stem
        outputs = (*reversed(widths[:-2]), widths[0])
        inputs = (widths[-1], *outputs[:-1])
        self.stages = nnx.List(
            [
                Stage(i, i, i, o, dtype=dtype, rngs=rngs)
                for i, o in zip(inputs, outputs, strict=True)
            ]
        )
        self.head = conv(outputs[-1], 3 * stem * stem, dtype=dtype, rngs=rngs)
        self.head.bias = nnx.Param(jnp.full(3 * stem * stem, level))

    def __call__(
        self, z: Float[Array, "b h w c"], *, training: bool, axis_name: str | None
    ) -> Float[Array, "b H W 3"]:
        for stage in self.stages:
            z = stage(upsample(z), training=training, axis_name=axis_name)
        return depth_to_space(self.head(z), self.stem).astype(jnp.float32)
