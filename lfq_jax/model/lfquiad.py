"""LFQUIAD: a quantized autoencoder and a discriminator (paper 3.4, figure 1).

The networks are Flax NNX modules. They are split once into static definitions and
plain dicts of arrays. Everything after that is a pure function of those dicts.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from lfq_jax import quantizers
from lfq_jax.config import ModelConfig
from lfq_jax.memory_bank.deepest import deepest_odds_factors
from lfq_jax.memory_bank.distances import DistanceMaps, distance_maps_of, empty_maps
from lfq_jax.memory_bank.feature_residuals import reconstruction_log_odds
from lfq_jax.memory_bank.features import reconstructed_sizes
from lfq_jax.memory_bank.logistic_head import head_log_odds
from lfq_jax.memory_bank.map_channels import MapChannels, map_channels
from lfq_jax.model.autoencoder import Autoencoder
from lfq_jax.model.discriminator import Discriminator
from lfq_jax.model.fusion import add_log_odds, fuse
from lfq_jax.model.initializers import draw_kernels
from lfq_jax.model.residuals import PIXEL_RESIDUALS, feature_residual, pixel_residual
from lfq_jax.model.variables import AnomalyMaps, Outputs, Variables
from lfq_jax.quantizers.protocol import Quantizer


@dataclass(frozen=True)
class Model:
    """Static definitions of the networks: `init` makes arrays, `apply` uses them.

    Equal models share their compiled functions.
    """

    config: ModelConfig
    is_texture: bool = True
    """Whether the category is a texture; else an object."""

    def __post_init__(self) -> None:
        _ = self._definition  # an impossible config is refused here

    @property
    def map_channels(self) -> MapChannels:
        """Channels of the distance maps of a training image."""
        return map_channels(self.config.memory_bank, is_texture=self.is_texture)

    @property
    def feature_sizes(self) -> tuple[int, ...]:
        """Number of features of each backbone stage that the decoder reconstructs."""
        return reconstructed_sizes(self.config.memory_bank)

    @functools.cached_property
    def quantizer(self) -> Quantizer:
        width = self.config.reconstructive_widths[-1]
        return quantizers.make(self.config.quantizer, dim=width)

    @property
    def _definition(self) -> Any:
        return _definition(self)

    def modules(self, key: PRNGKeyArray) -> nnx.Dict:
        """Both networks with random weights."""
        autoencoder_key, discriminator_key = jax.random.split(key)
        config = self.config
        sees_residual = config.discriminator_input == "residual"
        cell_channels = self.map_channels.distances + len(self.feature_sizes)
        return nnx.Dict(
            reconstructive=Autoencoder(
                config, code_dim=self.quantizer.dim, rngs=nnx.Rngs(autoencoder_key)
            ),
            discriminative=Discriminator(
                0 if sees_residual else 6,
                config.discriminative_widths,
                stem=config.stem,
                cell_channels=cell_channels + sees_residual * PIXEL_RESIDUALS,
                prior=config.prior,
                dtype=jnp.dtype(config.compute_dtype),
                rngs=nnx.Rngs(discriminator_key),
            ),
        )

    @functools.partial(jax.jit, static_argnums=0)
    def init(self, key: PRNGKeyArray) -> Variables:
        """Random weights; the same key gives the same weights."""
        network_key, quantizer_key = jax.random.split(key)
        modules = self.modules(network_key)
        _, params, statistics = nnx.split(modules, nnx.Param, nnx.BatchStat)
        quantizer_params, quantizer_state = self.quantizer.init(quantizer_key)
        networks = draw_kernels(
            nnx.to_pure_dict(params), network_key, kernels=self.config.kernels
        )
        return Variables(
            params={**networks, "quantizer": quantizer_params},
            statistics=nnx.to_pure_dict(statistics),
            quantizer=quantizer_state,
        )

    def apply(
        self,
        variables: Variables,
        image: Float[Array, "b h w 3"],
        distance_maps: DistanceMaps | None = None,
        *,
        training: bool,
        key: PRNGKeyArray | None = None,
        step: Array | int | None = None,
    ) -> tuple[Outputs, Variables]:
        """Reconstruct and segment a batch of images in [0, 1].

        The function is long because it is the network, from image to logits.

        Args:
          distance_maps: of the images, where they were computed before. Default:
            computed with `variables.memory_bank`.

        Returns:
          The outputs, and the variables with new running statistics. In scoring
          (`training=False`) the variables are returned as they were given.
        """
        params = {k: v for k, v in variables.params.items() if k != "quantizer"}
        modules = nnx.merge(self._definition, params, variables.statistics)
        autoencoder, discriminator = modules.reconstructive, modules.discriminative
        maps = self._distance_maps(variables, image, distance_maps)
        z = autoencoder.encode(image, maps.features, training=training)
        with jax.named_scope("quantizer"):
            quantized = self.quantizer.quantize(
                variables.params["quantizer"],
                variables.quantizer,
                z,
                training=training,
                key=key,
                step=step,
            )
        reconstruction, features = autoencoder.decode(quantized.z_q, training=training)
        pixels, cells = self._contrast(image, reconstruction, maps, features)
        logits = discriminator(pixels, cells, training=training)
        score_logits = logits
        if self.config.memory_bank and not training:
            heads = variables.logistic_head, variables.score_head
            head, score_head = (
                each and head_log_odds(each, maps.distances) for each in heads
            )
            logits, score_logits = fuse(
                logits,
                head,
                head if score_head is None else score_head,
                maps.orientation,
                self.config.memory_bank,
                cell_px=self.config.stem,
            )
            change = self._reconstruction_log_odds(variables, maps)
            if change is not None:
                logits = add_log_odds(logits, change[..., None])
        outputs = Outputs(
            reconstruction=reconstruction,
            logits=logits,
            codes=quantized.codes,
            quantizer_loss=quantized.loss,
            quantizer_statistics=quantized.statistics,
            reconstructed_features=features,
            score_logits=score_logits,
        )
        if not training:
            return outputs, variables
        statistics = nnx.to_pure_dict(nnx.state(modules, nnx.BatchStat))
        return outputs, variables._replace(
            statistics=statistics, quantizer=quantized.state
        )

    def anomaly_maps(
        self,
        variables: Variables,
        images: Float[Array, "b h w 3"],
        distance_maps: DistanceMaps | None = None,
    ) -> AnomalyMaps:
        """What images are scored by; see `apply`."""
        compared = self._distance_maps(variables, images, distance_maps)
        outputs, _ = self.apply(variables, images, compared, training=False)
        return AnomalyMaps(
            maps=outputs.probability,
            score_maps=outputs.score_probability,
            reconstructions=outputs.reconstruction,
            odds_factors=self._odds_factors(variables, compared),
        )

    def _odds_factors(
        self, variables: Variables, maps: DistanceMaps
    ) -> Float[Array, "b gh gw"] | None:
        """`odds_factors` of `AnomalyMaps`, from the deepest stage's distances."""
        config, bank = self.config.memory_bank, variables.memory_bank
        if config is None or bank is None or bank.deepest is None:
            return None
        distances = maps.deepest[..., 0]
        return deepest_odds_factors(distances, bank.deepest, config.deepest_weight)

    def _reconstruction_log_odds(
        self, variables: Variables, maps: DistanceMaps
    ) -> Float[Array, "b gh gw"] | None:
        """What the reconstruction of the features adds to the map's log-odds."""
        config, bank = self.config.memory_bank, variables.memory_bank
        if config is None or bank is None or bank.reconstruction is None:
            return None
        distances = maps.reconstruction[..., 0]
        return reconstruction_log_odds(distances, bank.reconstruction, config)

    def _distance_maps(
        self, variables: Variables, image: Array, known: DistanceMaps | None
    ) -> DistanceMaps:
        """Distance maps of the images; without channels where there is no bank."""
        config = self.config
        if config.memory_bank is None:
            b, h, w, _ = image.shape
            grid = (b, h // config.stem, w // config.stem)
            return jax.tree.map(
                jnp.asarray, empty_maps(grid, MapChannels(), np.float32)
            )
        if known is not None:
            return known
        bank = variables.memory_bank
        if bank is None:
            raise ValueError("a model with a memory bank needs variables.memory_bank")
        if self.map_channels.orientation and bank.orientation is None:
            raise ValueError(
                "orientation_weight must be 0 for a memory bank without orientation, "
                f"got {config.memory_bank.orientation_weight}"
            )
        return distance_maps_of(bank, image, config.memory_bank, stride=config.stem)

    def _contrast(
        self,
        image: Float[Array, "b h w 3"],
        reconstruction: Float[Array, "b h w 3"],
        maps: DistanceMaps,
        reconstructed_features: Float[Array, "b gh gw f"],
    ) -> tuple[Float[Array, "b h w i"], Float[Array, "b gh gw c"]]:
        """What the discriminator sees: of every pixel, and of every cell."""
        cells = [maps.distances]
        if self.feature_sizes:
            residual = feature_residual(
                maps.features, reconstructed_features, self.feature_sizes
            )
            cells.append(residual)
        if self.config.discriminator_input == "residual":
            cells.append(pixel_residual(image, reconstruction, self.config.stem))
            pixels = image[..., :0]
        else:
            pixels = jnp.concatenate([reconstruction, image], axis=-1)
        return pixels, jnp.concatenate(cells, axis=-1)


@functools.lru_cache(maxsize=8)  # equal models share it: it takes seconds to make
def _definition(model: Model) -> Any:
    """The graph of the model's modules, without arrays."""
    modules = nnx.eval_shape(lambda: model.modules(jax.random.key(0)))
    return nnx.split(modules, nnx.Param, nnx.BatchStat)[0]
