"""LFQUIAD: a quantized autoencoder and a discriminator (paper 3.4, figure 1).

The networks are Flax NNX modules. They are split once into static definitions and
plain dicts of arrays; everything after that is a pure function of those dicts.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from lfq_jax import quantizers
from lfq_jax.config import ModelConfig
from lfq_jax.decoder import Decoder
from lfq_jax.discriminator import Discriminator
from lfq_jax.encoder import Encoder
from lfq_jax.layers import conv
from lfq_jax.quantizers.config import NoneConfig

Tree = Any  # a nested dict of arrays


class Autoencoder(nnx.Module):
    """Encoder, pre- and post-quantisation convolutions and decoder (paper 3.2).

    With the quantizer `none` there is nothing to project to, both convolutions are
    left out and the network is DRAEM's.
    """

    def __init__(self, config: ModelConfig, *, code_dim: int, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(config.compute_dtype)
        widths = config.reconstructive_widths
        self.encoder = Encoder(widths, stem=config.stem, dtype=dtype, rngs=rngs)
        bare = isinstance(config.quantizer, NoneConfig)
        project = functools.partial(conv, size=1, dtype=dtype, rngs=rngs)
        self.pre = None if bare else project(widths[-1], code_dim)
        self.post = None if bare else project(code_dim, widths[-1])
        self.decoder = Decoder(widths, stem=config.stem, dtype=dtype, rngs=rngs)

    def encode(
        self, image: Float[Array, "b h w 3"], *, training: bool, axis_name: str | None
    ) -> Float[Array, "b h2 w2 d"]:
        z = self.encoder(image, training=training, axis_name=axis_name)
        z = z if self.pre is None else self.pre(z)
        return z.astype(jnp.float32)

    def decode(
        self, z: Float[Array, "b h2 w2 d"], *, training: bool, axis_name: str | None
    ) -> Float[Array, "b h w 3"]:
        z = z if self.post is None else self.post(z)
        return self.decoder(z, training=training, axis_name=axis_name)


class Variables(NamedTuple):
    """All that training changes. Each is a nested dict of arrays."""

    params: Tree
    """`reconstructive`, `quantizer` and `discriminative` weights."""
    statistics: Tree
    """Running means and variances of the batch norms."""
    quantizer: Tree
    """The quantizer's own state."""


class Outputs(NamedTuple):
    """What one pass over a batch gives."""

    reconstruction: Float[Array, "b h w 3"]
    logits: Float[Array, "b h w 2"]
    codes: Array
    quantizer_loss: Float[Array, ""]
    quantizer_statistics: dict[str, Array]

    @property
    def probability(self) -> Float[Array, "b h w"]:
        """M_hat of eq. 4: probability that a pixel is anomalous, in [0, 1]."""
        return jax.nn.sigmoid(self.logits[..., 1] - self.logits[..., 0])


class Model:
    """Static definitions of the networks: `init` makes arrays, `apply` uses them."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        width = config.reconstructive_widths[-1]
        self.quantizer = quantizers.make(config.quantizer, dim=width)
        modules = nnx.eval_shape(lambda: self._modules(jax.random.key(0)))
        self._definition = nnx.split(modules, nnx.Param, nnx.BatchStat)[0]

    def _modules(self, key: PRNGKeyArray) -> nnx.Dict:
        autoencoder_key, discriminator_key = jax.random.split(key)
        config = self.config
        channels = 6 if config.discriminator_input == "both" else 3
        return nnx.Dict(
            reconstructive=Autoencoder(
                config, code_dim=self.quantizer.dim, rngs=nnx.Rngs(autoencoder_key)
            ),
            discriminative=Discriminator(
                channels,
                config.discriminative_widths,
                stem=config.stem,
                dtype=jnp.dtype(config.compute_dtype),
                rngs=nnx.Rngs(discriminator_key),
            ),
        )

    @functools.partial(jax.jit, static_argnums=0)
    def init(self, key: PRNGKeyArray) -> Variables:
        """Random weights; the same key gives the same weights."""
        network_key, quantizer_key = jax.random.split(key)
        modules = self._modules(network_key)
        _, params, statistics = nnx.split(modules, nnx.Param, nnx.BatchStat)
        quantizer_params, quantizer_state = self.quantizer.init(quantizer_key)
        return Variables(
            params={**nnx.to_pure_dict(params), "quantizer": quantizer_params},
            statistics=nnx.to_pure_dict(statistics),
            quantizer=quantizer_state,
        )

    def apply(
        self,
        variables: Variables,
        image: Float[Array, "b h w 3"],
        *,
        training: bool,
        key: PRNGKeyArray | None = None,
        step: Array | int | None = None,
        axis_name: str | None = None,
    ) -> tuple[Outputs, Variables]:
        """Reconstruct and segment a batch of images in [0, 1].

        Returns the outputs and the variables with new running statistics; in scoring
        (`training=False`) they are the ones given.
        """
        params = {k: v for k, v in variables.params.items() if k != "quantizer"}
        modules = nnx.merge(self._definition, params, variables.statistics)
        autoencoder, discriminator = modules.reconstructive, modules.discriminative
        mode: dict[str, Any] = {"training": training, "axis_name": axis_name}
        z = autoencoder.encode(image, **mode)
        quantized = self.quantizer.quantize(
            variables.params["quantizer"],
            variables.quantizer,
            z,
            training=training,
            axis_name=axis_name,
            key=key,
            step=step,
        )
        reconstruction = autoencoder.decode(quantized.z_q, **mode)
        seen = (
            jnp.concatenate([reconstruction, image], axis=-1)
            if self.config.discriminator_input == "both"
            else image
        )
        outputs = Outputs(
            reconstruction=reconstruction,
            logits=discriminator(seen, **mode),
            codes=quantized.codes,
            quantizer_loss=quantized.loss,
            quantizer_statistics=quantized.statistics,
        )
        if not training:
            return outputs, variables
        statistics = nnx.to_pure_dict(nnx.state(modules, nnx.BatchStat))
        return outputs, variables._replace(
            statistics=statistics, quantizer=quantized.state
        )


def parameter_count(params: Tree) -> int:
    """Number of trained scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
