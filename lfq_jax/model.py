"""LFQUIAD: a quantized autoencoder and a discriminator (paper 3.4, figure 1).

The networks are Flax NNX modules. They are split once into static definitions and
plain dicts of arrays; everything after that is a pure function of those dicts.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from lfq_jax import quantizers
from lfq_jax.config import ModelConfig
from lfq_jax.decoder import Decoder
from lfq_jax.discriminator import Discriminator
from lfq_jax.encoder import Encoder
from lfq_jax.layers import conv
from lfq_jax.orientation import undisturbed
from lfq_jax.quantizers.config import NoneConfig
from lfq_jax.reader import Reader, read
from lfq_jax.reference import Reference, channels, compare, strangeness_channels
from lfq_jax.sight import reconstructed_sizes

Tree = Any  # a nested dict of arrays
DRAEM_DEVIATION = 0.02  # of the initial kernels
RESIDUALS = 4  # channels of `residual_cells`


class Autoencoder(nnx.Module):
    """Encoder, pre- and post-quantisation convolutions and decoder (paper 3.2).

    With the quantizer `none` there is nothing to project to, both convolutions are
    left out and the network is DRAEM's.
    """

    def __init__(self, config: ModelConfig, *, code_dim: int, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(config.compute_dtype)
        widths = config.reconstructive_widths
        features = sum(reconstructed_sizes(config.reference))
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


class Variables(NamedTuple):
    """All that training changes. Each is a nested dict of arrays."""

    params: Tree
    """`reconstructive`, `quantizer` and `discriminative` weights."""
    statistics: Tree
    """Running means and variances of the batch norms."""
    quantizer: Tree
    """The quantizer's own state."""
    reference: Reference | None = None
    """What new images are compared with; training does not change it."""
    reader: Reader | None = None
    """A second opinion on the distances, fitted before training."""


class Outputs(NamedTuple):
    """What one pass over a batch gives."""

    reconstruction: Float[Array, "b h w 3"]
    logits: Float[Array, "b h w 2"]
    """The discriminator's; in scoring with the share of the regression, and what the
    grain of a texture adds."""
    codes: Array
    quantizer_loss: Float[Array, ""]
    quantizer_statistics: dict[str, Array]
    features: Float[Array, "b gh gw f"]
    """The pretrained encoder's features as the decoder gives them back; f = 0 without
    one."""
    of_score: Float[Array, "b h w 2"]
    """Logits that the image score is read off: as `logits`, but in scoring with the
    regression's own share in the score, and without the grain."""

    @property
    def probability(self) -> Float[Array, "b h w"]:
        """M_hat of eq. 4: probability that a pixel is anomalous, in [0, 1]."""
        return _probability(self.logits)

    @property
    def score_probability(self) -> Float[Array, "b h w"]:
        """The same of what the image score is read off."""
        return _probability(self.of_score)


def _probability(logits: Float[Array, "*b 2"]) -> Float[Array, "*b"]:
    return jax.nn.sigmoid(logits[..., 1] - logits[..., 0])


class Model:
    """Static definitions of the networks: `init` makes arrays, `apply` uses them."""

    def __init__(self, config: ModelConfig, *, is_texture: bool = True) -> None:
        self.config = config
        self.is_texture = is_texture
        self.reference_channels = channels(config.reference, is_texture=is_texture)
        self._grain_channels = strangeness_channels(
            config.reference, is_texture=is_texture
        )
        residual = RESIDUALS if config.discriminator_input == "residual" else 0
        self.feature_sizes = reconstructed_sizes(config.reference)
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
        otherwise it is computed with `variables.reference`.

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
        of_score, reference_config = logits, self.config.reference
        if reference_config and variables.reader is not None and not training:
            found = read(variables.reader, cells[..., : self.reference_channels])
            of_score = _with_reader(logits, found, reference_config.score_share)
            logits = _with_reader(logits, found, reference_config.reader_share)
        if reference_config and self._grain_channels and not training:
            says = undisturbed(_probability(logits), self.config.stem)[..., None]
            logits = _moved(logits, reference_config.orientation_weight * says * grain)
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
        if config.reference is None:
            b, h, w, _ = image.shape
            nothing = jnp.zeros((b, h // config.stem, w // config.stem, 0))
            return nothing, nothing, nothing
        if known is None:
            memory = variables.reference
            if memory is None:
                raise ValueError("a model with a reference needs variables.reference")
            if self._grain_channels and memory.orientation is None:
                raise ValueError(
                    "orientation_weight must be 0 for a memory without an orientation, "
                    f"got {config.reference.orientation_weight}"
                )
            known = compare(memory, image, config.reference, stride=config.stem)
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


def _with_reader(
    logits: Float[Array, "b h w 2"], read: Float[Array, "b gh gw"], share: float
) -> Float[Array, "b h w 2"]:
    """The mean of the discriminator's log-odds and the reader's, who has `share`."""
    of_network = logits[..., 1] - logits[..., 0]
    of_reader = _of_pixels(read, of_network.shape[1:])
    both = (1 - share) * of_network + share * of_reader
    return jnp.stack([-0.5 * both, 0.5 * both], axis=-1)


def _moved(
    logits: Float[Array, "b h w 2"], by: Float[Array, "b gh gw 1"]
) -> Float[Array, "b h w 2"]:
    """With `by` added to the log-odds of an anomaly."""
    more = 0.5 * _of_pixels(by[..., 0], logits.shape[1:3])
    return logits + jnp.stack([-more, more], axis=-1)


def _of_pixels(
    cells: Float[Array, "b gh gw"], sides: tuple[int, ...]
) -> Float[Array, "b h w"]:
    """Every pixel of an image of `sides` has what its cell has."""
    rows, columns = (sides[i] // cells.shape[1 + i] for i in (0, 1))
    return jnp.repeat(jnp.repeat(cells, rows, axis=1), columns, axis=2)


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


def parameter_count(params: Tree) -> int:
    """Number of trained scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
