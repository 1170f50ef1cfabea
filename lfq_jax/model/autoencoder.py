"""The reconstructive subnetwork (paper 3.2), quantizer excluded."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lfq_jax.config import ModelConfig
from lfq_jax.memory_bank.features import reconstructed_sizes
from lfq_jax.model.decoder import Decoder
from lfq_jax.model.encoder import Encoder
from lfq_jax.model.layers import conv
from lfq_jax.quantizers.config import NoneConfig


class Autoencoder(nnx.Module):
    """Encoder, pre- and post-quantisation convolutions and decoder (paper 3.2).

    With the quantizer `none` both convolutions are left out, because there is nothing
    to project to. The network is then DRAEM's.
    """

    def __init__(self, config: ModelConfig, *, code_dim: int, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(config.compute_dtype)
        widths = config.reconstructive_widths
        features = sum(reconstructed_sizes(config.memory_bank))
        shape: dict[str, Any] = {"stem": config.stem, "features": features}
        self.encoder = Encoder(widths, **shape, dtype=dtype, rngs=rngs)
        bare = isinstance(config.quantizer, NoneConfig)
        project = functools.partial(conv, size=1, dtype=dtype, rngs=rngs)
        self.pre = None if bare else project(widths[-1], code_dim)
        self.post = None if bare else project(code_dim, widths[-1])
        grey = 0.5 if config.kernels == "he" else 0.0
        self.decoder = Decoder(widths, **shape, level=grey, dtype=dtype, rngs=rngs)

    def encode(
        self,
        image: Float[Array, "b h w 3"],
        features: Float[Array, "b gh gw f"],
        *,
        training: bool,
    ) -> Float[Array, "b h2 w2 d"]:
        z = self.encoder(image, features, training=training)
        z = z if self.pre is None else self.pre(z)
        return z.astype(jnp.float32)

    def decode(
        self, z: Float[Array, "b h2 w2 d"], *, training: bool
    ) -> tuple[Float[Array, "b h w 3"], Float[Array, "b gh gw f"]]:
        z = z if self.post is None else self.post(z)
        return self.decoder(z, training=training)
