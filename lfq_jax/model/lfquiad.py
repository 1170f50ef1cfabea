"""LFQUIAD: a quantized autoencoder and a discriminator (paper 3.4, figure 1).

The networks are Flax NNX modules. They are split once into static definitions and
plain dicts of arrays; everything after that is a pure function of those dicts.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from lfq_jax import quantizers
from lfq_jax.config import ModelConfig
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import reconstructed_sizes
from lfq_jax.memory_bank.layout import channels, orientation_channels
from lfq_jax.memory_bank.logistic_head import head_log_odds
from lfq_jax.model.autoencoder import Autoencoder
from lfq_jax.model.discriminator import Discriminator
from lfq_jax.model.fusion import (
    add_log_odds,
    anomaly_probability,
    mix_log_odds,
    unexplained_share,
)
from lfq_jax.model.residuals import RESIDUALS, feature_residual, residual_cells
from lfq_jax.model.variables import Outputs, Tree, Variables

DRAEM_DEVIATION = 0.02  # of the initial kernels


class Model:
    """Static definitions of the networks: `init` makes arrays, `apply` uses them."""

    def __init__(self, config: ModelConfig, *, is_texture: bool = True) -> None:
        self.config = config
        self.is_texture = is_texture
        self.reference_channels = channels(config.memory_bank, is_texture=is_texture)
        self._grain_channels = orientation_channels(
            config.memory_bank, is_texture=is_texture
        )
        residual = RESIDUALS if config.discriminator_input == "residual" else 0
        self.feature_sizes = reconstructed_sizes(config.memory_bank)
        self._cell_channels = (
            self.reference_channels + len(self.feature_sizes) + residual
        )
        width = config.reconstructive_widths[-1]
        self.quantizer = quantizers.make(config.quantizer, dim=width)
        modules = nnx.eval_shape(lambda: self._modules(jax.random.key(0)))
        self._definition = nnx.split(modules, nnx.Param, nnx.BatchStat)[0]

    # Compiled functions are shared by models that are alike.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple:
        return self.config, self.is_texture

    def _modules(self, key: PRNGKeyArray) -> nnx.Dict:
        autoencoder_key, discriminator_key = jax.random.split(key)
        config = self.config
        channels = {"both": 6, "image": 3}.get(config.discriminator_input, 0)
        return nnx.Dict(
            reconstructive=Autoencoder(
                config, code_dim=self.quantizer.dim, rngs=nnx.Rngs(autoencoder_key)
            ),
            discriminative=Discriminator(
                channels,
                config.discriminative_widths,
                stem=config.stem,
                cell_channels=self._cell_channels,
                prior=config.prior,
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
        networks = self._with_random_kernels(nnx.to_pure_dict(params), network_key)
        return Variables(
            params={**networks, "quantizer": quantizer_params},
            statistics=nnx.to_pure_dict(statistics),
            quantizer=quantizer_state,
        )

    def _with_random_kernels(self, params: Tree, key: PRNGKeyArray) -> Tree:
        """Draw every convolution kernel from a normal distribution.

        One long draw, cut to pieces: a draw for every kernel takes XLA 14 s to compile.
        """
        paths, tree = jax.tree.flatten_with_path(params)
        leaves = [leaf for _, leaf in paths]
        kernels = [i for i, leaf in enumerate(leaves) if leaf.ndim == 4]
        sizes = [leaves[i].size for i in kernels]
        drawn = jax.random.normal(key, (sum(sizes),))
        pieces = jnp.split(drawn, np.cumsum(sizes)[:-1])
        for i, piece in zip(kernels, pieces, strict=True):
            path, leaf = paths[i]
            is_head = any(getattr(part, "key", None) == "head" for part in path)
            deviation = self._deviation(leaf.shape, is_head=is_head)
            leaves[i] = deviation * piece.reshape(leaf.shape)
        return jax.tree.unflatten(tree, leaves)

    def _deviation(self, shape: tuple[int, ...], *, is_head: bool) -> float:
        if self.config.kernels == "draem":
            return DRAEM_DEVIATION
        he = math.sqrt(2 / math.prod(shape[:-1]))
        return 0.1 * he if is_head else he  # what comes out begins near its bias

    def apply(
        self,
        variables: Variables,
        image: Float[Array, "b h w 3"],
        reference: Float[Array, "b gh gw c"] | None = None,
        *,
        training: bool,
        key: PRNGKeyArray | None = None,
        step: Array | int | None = None,
    ) -> tuple[Outputs, Variables]:
        """Reconstruct and segment a batch of images in [0, 1].

        `reference` is what `compare` finds in the images, where it is known already;
        otherwise it is computed with `variables.memory_bank`.

        Returns the outputs and the variables with new running statistics; in scoring
        (`training=False`) they are the ones given.
        """
        params = {k: v for k, v in variables.params.items() if k != "quantizer"}
        modules = nnx.merge(self._definition, params, variables.statistics)
        autoencoder, discriminator = modules.reconstructive, modules.discriminative
        cells, grain, features = self._compared(variables, image, reference)
        z = autoencoder.encode(image, features, training=training)
        with jax.named_scope("quantizer"):
            quantized = self.quantizer.quantize(
                variables.params["quantizer"],
                variables.quantizer,
                z,
                training=training,
                key=key,
                step=step,
            )
        reconstruction, given_back = autoencoder.decode(
            quantized.z_q, training=training
        )
        if self.feature_sizes:
            missing = feature_residual(features, given_back, self.feature_sizes)
            cells = jnp.concatenate([cells, missing], -1)
        if self.config.discriminator_input == "residual":
            residual = residual_cells(image, reconstruction, self.config.stem)
            cells = jnp.concatenate([cells, residual], -1) if cells.size else residual
        seen = {"both": [reconstruction, image], "image": [image]}.get(
            self.config.discriminator_input, [image[..., :0]]
        )
        logits = discriminator(jnp.concatenate(seen, axis=-1), cells, training=training)
        of_score, memory_bank = logits, self.config.memory_bank
        if memory_bank and variables.logistic_head is not None and not training:
            found = head_log_odds(
                variables.logistic_head, cells[..., : self.reference_channels]
            )
            of_score = mix_log_odds(logits, found, memory_bank.score_head_weight)
            logits = mix_log_odds(logits, found, memory_bank.head_weight)
        if memory_bank and self._grain_channels and not training:
            says = unexplained_share(anomaly_probability(logits), self.config.stem)[
                ..., None
            ]
            logits = add_log_odds(logits, memory_bank.orientation_weight * says * grain)
        outputs = Outputs(
            reconstruction=reconstruction,
            logits=logits,
            codes=quantized.codes,
            quantizer_loss=quantized.loss,
            quantizer_statistics=quantized.statistics,
            features=given_back,
            of_score=of_score,
        )
        if not training:
            return outputs, variables
        statistics = nnx.to_pure_dict(nnx.state(modules, nnx.BatchStat))
        return outputs, variables._replace(
            statistics=statistics, quantizer=quantized.state
        )

    def _compared(
        self, variables: Variables, image: Array, known: Array | None
    ) -> tuple[Array, Array, Array]:
        """Distances from the shots' patches, how strangely grain runs, and features to
        give back; no channels without a reference, of objects, without an encoder."""
        config = self.config
        if config.memory_bank is None:
            b, h, w, _ = image.shape
            nothing = jnp.zeros((b, h // config.stem, w // config.stem, 0))
            return nothing, nothing, nothing
        if known is None:
            memory = variables.memory_bank
            if memory is None:
                raise ValueError("a model with a reference needs variables.memory_bank")
            if self._grain_channels and memory.orientation is None:
                raise ValueError(
                    "orientation_weight must be 0 for a memory without an orientation, "
                    f"got {config.memory_bank.orientation_weight}"
                )
            known = distance_maps_of(
                memory, image, config.memory_bank, stride=config.stem
            )
        grain = known[..., self.reference_channels :][..., : self._grain_channels]
        return self.distances(known), grain, self.features(known)

    def distances(self, compared: Float[Array, "*b c"]) -> Float[Array, "*b d"]:
        """What says how far a cell is from the shots, of all that `compare` finds."""
        return compared[..., : self.reference_channels]

    def features(self, compared: Float[Array, "*b c"]) -> Float[Array, "*b f"]:
        """What the decoder is to give back, of all that `compare` finds."""
        start = self.reference_channels + self._grain_channels
        return compared[..., start : start + sum(self.feature_sizes)]

    def normal_features(self, known: Float[Array, "*b c"]) -> Float[Array, "*b f"]:
        """The same of the image without its anomaly, which only training knows."""
        count = sum(self.feature_sizes)
        return known[..., known.shape[-1] - count :]
