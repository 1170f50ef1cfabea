"""An autoencoder of features with a quantized bottleneck, fitted to shots in seconds.

The paper's idea (3.2) is that codes of good parts cannot give a defect back. Here they
reconstruct a backbone's features in place of pixels. What the shots have in common fits
into a few dozen bits for each cell, and what they do not show is lost in them. Noise on
the inputs teaches the autoencoder to repair (Vincent et al. 2008, "Extracting and
Composing Robust Features with Denoising Autoencoders").
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from lfq_jax import quantizers
from lfq_jax.config import FeatureAutoencoderConfig
from lfq_jax.ops.precision import exact_products
from lfq_jax.quantizers.config import NoneConfig
from lfq_jax.quantizers.protocol import Quantizer

_BATCH = 1024  # cells
_WARMUP = 0.05  # shares of the steps
_DECAY = 0.8
_TINY = 1e-6


class Weights(NamedTuple):
    """What is trained."""

    kernel_in: Float[Array, "p h"]
    bias_in: Float[Array, "h"]
    kernel_code: Float[Array, "h d"]
    kernel_out: Float[Array, "d h"]
    bias_out: Float[Array, "h"]
    kernel_features: Float[Array, "h f"]
    bias_features: Float[Array, "f"]
    quantizer: dict[str, Array] | None = None
    """The quantizer's own weights."""


class FeatureAutoencoder(NamedTuple):
    """A fitted autoencoder of the features around a cell. Arrays only."""

    mean: Float[Array, "f"]
    scale: Float[Array, ""]
    """Root mean square deviation of a feature of the shots."""
    weights: Weights
    code_mean: Float[Array, "d"]
    """Mean of the numbers that are quantized, over all cells of the shots."""
    code_deviation: Float[Array, "d"]
    quantizer_state: dict[str, Array] | None = None


def quantizer_of(config: FeatureAutoencoderConfig) -> Quantizer:
    """The bottleneck."""
    quantizer = quantizers.make(config.quantizer, dim=config.continuous_dim)
    if config.continuous:
        return quantizers.make(NoneConfig(), dim=quantizer.dim)
    return quantizer


@exact_products
def fit_feature_autoencoder(
    images: Sequence[Float[np.ndarray, "_ _ f"]],
    sizes: tuple[int, ...],
    config: FeatureAutoencoderConfig,
    *,
    seed: int,
) -> FeatureAutoencoder:
    """Fit an autoencoder to the cells of images of good parts.

    Args:
      images: features of every cell of an image. Images may have different shapes.
      sizes: number of features of each group, such as a backbone's stages.
      seed: of the first weights, the order of the cells, and the noise.
    """
    inputs = np.concatenate([_cells(_surround(x, config.context)) for x in images])
    targets = np.concatenate([_cells(x) for x in images])
    mean, deviations = targets.mean(0), targets.std(0)
    scale = float(np.sqrt((deviations**2).mean())) + _TINY
    repeated = config.context**2
    return _fit(
        jnp.asarray((inputs - np.tile(mean, repeated)) / scale),
        jnp.asarray((targets - mean) / scale),
        jnp.asarray(np.tile(deviations, repeated) / scale),
        jnp.asarray(mean),
        jnp.asarray(scale, jnp.float32),
        jax.random.key(seed),
        sizes=sizes,
        config=config,
    )


@exact_products
def reconstruction_residuals(
    autoencoder: FeatureAutoencoder,
    features: Float[Array, "*b h w f"],
    sizes: tuple[int, ...],
    config: FeatureAutoencoderConfig,
) -> Float[Array, "*b h w g"]:
    """Half the cosine distance of every group of features from its reconstruction; in
    [0, 1]."""
    centred = (features - autoencoder.mean) / autoencoder.scale
    z = _encode(autoencoder.weights, _surround(centred, config.context))
    z = (z - autoencoder.code_mean) / autoencoder.code_deviation
    quantized = quantizer_of(config).quantize(
        autoencoder.weights.quantizer or {},
        autoencoder.quantizer_state or (),
        z,
        training=False,
    )
    decoded = _decode(autoencoder.weights, quantized.z_q)
    reconstruction = decoded * autoencoder.scale + autoencoder.mean
    return _cosine_distances(features, reconstruction, sizes) / 2


def _cells(image: Float[np.ndarray, "h w f"]) -> Float[np.ndarray, "n f"]:
    return np.asarray(image, np.float32).reshape(-1, image.shape[-1])


def _surround(x: Any, side: int) -> Any:
    """The features of the cells around each cell, row by row; the border is repeated.

    [... h w f] -> [... h w side*side*f]
    """
    if side == 1:
        return x
    library = np if isinstance(x, np.ndarray) else jnp
    reach = side // 2
    rims = [(0, 0)] * (x.ndim - 3) + [(reach, reach), (reach, reach), (0, 0)]
    wide = library.pad(x, rims, mode="edge")
    h, w = x.shape[-3:-1]
    shifted = [
        wide[..., i : i + h, j : j + w, :] for i in range(side) for j in range(side)
    ]
    return library.concatenate(shifted, axis=-1)


def _first_weights(key: PRNGKeyArray, p: int, f: int, h: int, d: int) -> Weights:
    keys = jax.random.split(key, 4)

    def he(key: PRNGKeyArray, *shape: int) -> Array:
        return jax.random.normal(key, shape) * np.sqrt(2 / shape[0])

    return Weights(
        kernel_in=he(keys[0], p, h),
        bias_in=jnp.zeros(h),
        kernel_code=he(keys[1], h, d),
        kernel_out=he(keys[2], d, h),
        bias_out=jnp.zeros(h),
        kernel_features=he(keys[3], h, f) / 2,
        bias_features=jnp.zeros(f),
    )


def _encode(weights: Weights, x: Float[Array, "*b p"]) -> Float[Array, "*b d"]:
    hidden = jax.nn.relu(x @ weights.kernel_in + weights.bias_in)
    return hidden @ weights.kernel_code


def _decode(weights: Weights, z_q: Float[Array, "*b d"]) -> Float[Array, "*b f"]:
    hidden = jax.nn.relu(z_q @ weights.kernel_out + weights.bias_out)
    return hidden @ weights.kernel_features + weights.bias_features


def _cosine_distances(
    x: Float[Array, "*b f"], y: Float[Array, "*b f"], sizes: tuple[int, ...]
) -> Float[Array, "*b g"]:
    """1 - cosine of each group of features; in [0, 2]."""
    ends = np.cumsum(sizes)[:-1]
    pairs = zip(jnp.split(x, ends, -1), jnp.split(y, ends, -1), strict=True)
    cosines = [
        (a * b).sum(-1) * jax.lax.rsqrt((a * a).sum(-1) * (b * b).sum(-1) + _TINY**2)
        for a, b in pairs
    ]
    return jnp.clip(1.0 - jnp.stack(cosines, axis=-1), 0.0, 2.0)


@functools.partial(jax.jit, static_argnames=("sizes", "config"))
def _fit(
    inputs: Float[Array, "n p"],
    targets: Float[Array, "n f"],
    deviations: Float[Array, "p"],
    mean: Float[Array, "f"],
    scale: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    sizes: tuple[int, ...],
    config: FeatureAutoencoderConfig,
) -> FeatureAutoencoder:
    """The function is long because it is the training, from first weights to last.

    Args:
      inputs, targets: centred, and in units of `scale`.
      deviations: of the inputs.
    """
    quantizer = quantizer_of(config)
    first_key, quantizer_key, steps_key = jax.random.split(key, 3)
    shape = inputs.shape[-1], targets.shape[-1], config.hidden, quantizer.dim
    quantizer_weights, state = quantizer.init(quantizer_key)
    weights = _first_weights(first_key, *shape)._replace(
        quantizer=quantizer_weights or None
    )
    steps = config.steps
    rate = optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.learning_rate, round(_WARMUP * steps)),
            optax.piecewise_constant_schedule(
                config.learning_rate,
                {round((_DECAY - _WARMUP) * steps): 0.1},
            ),
        ],
        [round(_WARMUP * steps)],
    )
    optimizer = optax.adamw(rate, weight_decay=config.weight_decay)

    def loss_of(
        weights: Weights, state: Any, x: Array, y: Array, key: PRNGKeyArray, step: Array
    ) -> tuple[Array, Any]:
        noise_key, sampling_key = jax.random.split(key)
        noise = config.noise * deviations * jax.random.normal(noise_key, x.shape)
        z = _normalised(_encode(weights, x + noise))
        quantized = quantizer.quantize(
            weights.quantizer or {},
            state,
            z,
            training=True,
            key=sampling_key,
            step=step,
        )
        decoded = _decode(weights, quantized.z_q)
        whole, reconstructed = (v * scale + mean for v in (y, decoded))
        cosine = _cosine_distances(whole, reconstructed, sizes).mean()
        squared = ((whole - reconstructed) ** 2).sum(-1).mean()
        return cosine + squared + quantized.loss, quantized.state

    def step(carry: Any, number: Array) -> tuple[Any, None]:
        weights, state, optimizer_state = carry
        cells_key, loss_key = jax.random.split(jax.random.fold_in(steps_key, number))
        chosen = jax.random.randint(cells_key, (_BATCH,), 0, len(inputs))
        gradient, state = jax.grad(loss_of, has_aux=True)(
            weights, state, inputs[chosen], targets[chosen], loss_key, number
        )
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, weights)
        weights = optax.apply_updates(weights, updates)
        return (weights, state, optimizer_state), None

    tree: Any = weights
    first = weights, state, optimizer.init(tree)
    (weights, state, _), _ = jax.lax.scan(step, first, jnp.arange(steps))
    z = jax.lax.map(
        lambda x: _encode(weights, x), inputs, batch_size=min(len(inputs), 8 * _BATCH)
    )
    return FeatureAutoencoder(
        mean=mean,
        scale=scale,
        weights=weights,
        code_mean=z.mean(0),
        code_deviation=jnp.sqrt(z.var(0) + _TINY),
        quantizer_state=state or None,
    )


def _normalised(z: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """z with mean 0 and deviation 1 over the batch: batch norm without affine."""
    # The gradient of a standard deviation is infinite where all cells are equal.
    return (z - z.mean(0)) * jax.lax.rsqrt(z.var(0) + _TINY)
