"""Random variation of good parts.

A few shots do not show how much good parts differ. Each variation is applied in the
same way to the image, to its normal image and to the mask. So the detector does not
learn to call a turned part or a darker photograph a defect.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt8

from lfq_jax.config import AugmentConfig
from lfq_jax.ops.batches import filled
from lfq_jax.training.data import Sample, Samples, good_samples

_BATCH = 8


def _symmetric(key: PRNGKeyArray, bound: float) -> Array:
    return jax.random.uniform(key, (), minval=-bound, maxval=bound)


def _orient(
    x: Float[Array, "h w c"], key: PRNGKeyArray, *, flips: bool, turns: bool
) -> Array:
    """Mirror the image and turn it by 90 degrees, at random.

    An image that is not square is only turned by 180 degrees, to keep its shape.
    """
    vertical, horizontal, diagonal = jax.random.bernoulli(key, 0.5, (3,))
    if flips:
        x = jnp.where(vertical, x[::-1], x)
        x = jnp.where(horizontal, x[:, ::-1], x)
    if turns and x.shape[0] != x.shape[1]:
        return x if flips else jnp.where(vertical, x[::-1, ::-1], x)
    if turns:
        # With both mirrors a transposition completes the eight symmetries; without
        # them, a transposition and one mirror make a proper quarter turn.
        x = jnp.where(diagonal, x.transpose(1, 0, 2), x)
        if not flips:
            x = jnp.where(diagonal, x[::-1], x)
            x = jnp.where(vertical, x[::-1, ::-1], x)
    return x


def _light(
    normal: Float[Array, "h w 3"], key: PRNGKeyArray, config: AugmentConfig
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Gain and offset of exposure, contrast, white balance and a gradient of light."""
    fields = (config.contrast, config.brightness, config.colour, config.light_gradient)
    if not any(fields):  # drawing changes of size 0 takes as long as drawing changes
        return jnp.ones(()), jnp.zeros(())
    h, w, _ = normal.shape
    keys = jax.random.split(key, 4)
    contrast = 1.0 + _symmetric(keys[0], config.contrast)
    offset = normal.mean() * (1.0 - contrast) + _symmetric(keys[1], config.brightness)
    balance = 1.0 + config.colour * jax.random.uniform(keys[2], (3,), minval=-1.0)
    slope = config.light_gradient * jax.random.uniform(keys[3], (2,), minval=-1.0)
    row = jnp.linspace(-0.5, 0.5, h)[:, None, None]
    column = jnp.linspace(-0.5, 0.5, w)[None, :, None]
    light = balance * (1.0 + slope[0] * row + slope[1] * column)
    return contrast * light, offset * light


def mirrors_and_turns(config: AugmentConfig, *, is_texture: bool) -> tuple[bool, bool]:
    """(flips, turns): whether mirrored and turned good parts are good parts."""
    flips = config.flips == "both" or (config.flips == "auto" and is_texture)
    turns = config.quarter_turns
    return flips, turns == "always" or (turns == "auto" and is_texture)


def augment(
    sample: Sample, key: PRNGKeyArray, *, config: AugmentConfig, is_texture: bool
) -> Sample:
    """One random variation of `sample`. Pure, of static shape.

    Sensor noise is added to the image alone: the autoencoder reconstructs the clean
    normal image.
    """
    # The second key is unused: splitting into four would change every result.
    orient_key, _, light_key, noise_key, level_key = jax.random.split(key, 5)
    flips, turns = mirrors_and_turns(config, is_texture=is_texture)

    def oriented(x: Array) -> Array:
        return _orient(x, orient_key, flips=flips, turns=turns)

    planes = [sample.image, sample.normal, sample.mask[..., None]]
    stacked = oriented(jnp.concatenate(planes, axis=-1))
    image, normal, mask = stacked[..., :3], stacked[..., 3:6], stacked[..., 6]
    gain, offset = _light(normal, light_key, config)
    image, normal = image * gain + offset, normal * gain + offset
    if config.noise:
        level = config.noise * jax.random.uniform(level_key)
        image = image + level * jax.random.normal(noise_key, image.shape)
    return Sample(
        image=jnp.clip(image, 0.0, 1.0),
        normal=jnp.clip(normal, 0.0, 1.0),
        mask=(mask > 0.5).astype(jnp.float32),
        distance_maps=jax.tree.map(oriented, sample.distance_maps),
    )


def vary(
    samples: Samples, key: PRNGKeyArray, config: AugmentConfig, *, is_texture: bool
) -> Samples:
    """Every sample, varied once at random."""
    keys = jax.random.split(key, len(samples.images))
    # numpy selects and joins without compiling a program for every shape.
    on_host = jax.device_get(samples)
    parts = [
        _vary_batch(
            jax.tree.map(lambda x, i=batch: x[i], on_host),
            keys[batch],
            config=config,
            is_texture=is_texture,
        )
        for batch in batched_indices(len(keys))
    ]
    parts = jax.device_get(parts)
    joined = jax.tree.map(lambda *x: np.concatenate(x)[: len(keys)], *parts)
    return jax.device_put(joined)


def vary_in_turn(
    shots: UInt8[np.ndarray, "k h w 3"],
    count: int,
    key: PRNGKeyArray,
    config: AugmentConfig,
    *,
    stride: int,
    is_texture: bool,
) -> Samples:
    """`count` varied good parts: of the first shot, the second, and so on in turn.

    Args:
      stride: side of a cell of the distance maps, in pixels.
    """
    in_turn = np.arange(count) % len(shots)
    good = good_samples(shots[in_turn], stride=stride)
    return vary(good, key, config, is_texture=is_texture)


def batched_indices(count: int) -> list[np.ndarray]:
    """Indices in batches of one size. The last batch repeats the last index."""
    return [np.array(batch) for batch, _ in filled(range(count), _BATCH)]


@functools.partial(jax.jit, static_argnames=("config", "is_texture"))
def _vary_batch(
    samples: Samples, keys: Key[Array, "b"], *, config: AugmentConfig, is_texture: bool
) -> Samples:
    def one(image, normal, mask, maps, key) -> Sample:
        maps = jax.tree.map(lambda x: x * 1.0, maps)
        unit = Sample(image / 255.0, normal / 255.0, mask * 1.0, maps)
        return augment(unit, key, config=config, is_texture=is_texture)

    varied = jax.vmap(one)(*samples, keys)
    return Samples(
        _bytes(varied.image),
        _bytes(varied.normal),
        varied.mask.astype(jnp.uint8),
        jax.tree.map(lambda x: x.astype(jnp.float16), varied.distance_maps),
    )


def _bytes(x: Array) -> Array:
    return jnp.round(x * 255.0).astype(jnp.uint8)


def symmetric_copies(
    image: UInt8[np.ndarray, "h w 3"], flips: bool, turns: bool
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The image, mirrored (`flips`) and turned by 90 degrees (`turns`)."""
    quarters = (2 if flips else 4) if turns else 1
    copies = [np.rot90(image, quarter) for quarter in range(quarters)]
    if flips:
        copies = [m for x in copies for m in (x, x[::-1], x[:, ::-1], x[::-1, ::-1])]
    return [np.ascontiguousarray(x) for x in copies]
