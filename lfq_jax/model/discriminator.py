"""The discriminative subnetwork (paper 3.3; DRAEM's shapes)."""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lfq_jax.model.layers import (
    ConvStack,
    conv,
    depth_to_space,
    max_pool,
    space_to_depth,
    upsample,
)


class Discriminator(nnx.Module):
    """A U-Net that predicts whether each pixel is anomalous.

    [b h w i] -> two logits per pixel [b h w 2]: normal, anomalous. Distance maps with
    one cell per `stem` pixels, [b h/stem w/stem c], are an additional input of the
    first stage and of the head.
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...],
        *,
        stem: int,
        cell_channels: int = 0,
        prior: float = 0.5,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.stem = stem
        channels = (channels_in * stem * stem + cell_channels, *widths)
        self.down = nnx.List(
            [
                ConvStack(channels[i], width, width, dtype=dtype, rngs=rngs)
                for i, width in enumerate(widths)
            ]
        )
        skips = tuple(reversed(widths[:-1]))
        outputs = (skips[0], *skips[2:], widths[0])[: len(skips)]
        inputs = (widths[-1], *outputs[:-1])
        self.up = nnx.List(
            [
                ConvStack(i, o, dtype=dtype, rngs=rngs)
                for i, o in zip(inputs, outputs, strict=True)
            ]
        )
        self.join = nnx.List(
            [
                ConvStack(o + skip, o, o, dtype=dtype, rngs=rngs)
                for o, skip in zip(outputs, skips, strict=True)
            ]
        )
        self.head = conv(
            widths[0] + cell_channels, 2 * stem * stem, dtype=dtype, rngs=rngs
        )
        if prior != 0.5:
            half = 0.5 * math.log(prior / (1 - prior))
            bias = jnp.tile(jnp.array([-half, half]), stem * stem)
            self.head.bias = nnx.Param(bias)

    def __call__(
        self,
        x: Float[Array, "b h w i"],
        cells: Float[Array, "b gh gw c"] | None = None,
        *,
        training: bool,
    ) -> Float[Array, "b h w 2"]:
        x = space_to_depth(x, self.stem)
        if cells is not None:
            x = jnp.concatenate([x, cells], axis=-1)
        skips = []
        for i, stage in enumerate(self.down):
            x = max_pool(x) if i else x
            x = stage(x, training=training)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = up(upsample(x), training=training)
            x = jnp.concatenate([x, skips.pop()], axis=-1)
            x = join(x, training=training)
        if cells is not None:
            x = jnp.concatenate([x, cells], axis=-1)
        return depth_to_space(self.head(x), self.stem).astype(jnp.float32)
