"""Variation among good parts, drawn inside the compiled step.

A few shots do not show how far good parts differ. What is drawn here is applied alike
to the image, to the normal image behind it and to the mask, so that a turned part or a
darker photograph is never called a defect.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt8

from lfq_jax.config import AugmentConfig
from lfq_jax.ops.batches import filled
from lfq_jax.training.data import Sample, Samples


def _symmetric(key: PRNGKeyArray, bound: float) -> Array:
    return jax.random.uniform(key, (), minval=-bound, maxval=bound)


def _orient(
    x: Float[Array, "h w c"], key: PRNGKeyArray, *, flips: bool, turns: bool
) -> Array:
    """Mirror and turn by quarters."""
    vertical, horizontal, diagonal = jax.random.bernoulli(key, 0.5, (3,))
    if flips:
        x = jnp.where(vertical, x[::-1], x)
        x = jnp.where(horizontal, x[:, ::-1], x)
    if turns:
        # With both mirrors a transposition completes the eight symmetries; without
        # them, a transposition and one mirror make a proper quarter turn.
        x = jnp.where(diagonal, x.transpose(1, 0, 2), x)
        if not flips:
            x = jnp.where(diagonal, x[::-1], x)
            x = jnp.where(vertical, x[::-1, ::-1], x)
    return x


def _bilinear(x: Float[Array, "h w c"], rows: Array, columns: Array) -> Array:
    """Sample at fractional positions, edges repeated. [h w c], [n], [n] -> [n c]"""
    h, w, _ = x.shape
    rows, columns = jnp.clip(rows, 0, h - 1), jnp.clip(columns, 0, w - 1)
    top = jnp.minimum(rows.astype(jnp.int32), h - 2)
    left = jnp.minimum(columns.astype(jnp.int32), w - 2)
    down = (rows - top)[:, None]
    right = (columns - left)[:, None]
    flat = x.reshape(h * w, -1)
    corner = top * w + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + w] * (1 - right) + flat[corner + w + 1] * right
    return upper * (1 - down) + lower * down


def _move(x: Float[Array, "h w c"], key: PRNGKeyArray, config: AugmentConfig) -> Array:
    """A small rotation, shift and change of size about the centre."""
    h, w, c = x.shape
    if not c or not (config.rotation_degrees or config.shift or config.scale):
        return x
    angle_key, scale_key, row_key, column_key = jax.random.split(key, 4)
    angle = jnp.deg2rad(_symmetric(angle_key, config.rotation_degrees))
    scale = 1.0 + _symmetric(scale_key, config.scale)
    row, column = jnp.mgrid[:h, :w].astype(jnp.float32)
    row, column = row.ravel() - (h - 1) / 2, column.ravel() - (w - 1) / 2
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    rows = cos * row - sin * column + (h - 1) / 2
    columns = sin * row + cos * column + (w - 1) / 2
    rows = rows + h * _symmetric(row_key, config.shift)
    columns = columns + w * _symmetric(column_key, config.shift)
    return _bilinear(x, rows, columns).reshape(h, w, c)


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


def does_flip(config: AugmentConfig, *, is_texture: bool) -> bool:
    """Whether a mirrored good part is a good part."""
    return config.flips == "both" or (config.flips == "auto" and is_texture)


def _turns(config: AugmentConfig, *, is_texture: bool) -> bool:
    always = config.quarter_turns == "always"
    return always or (config.quarter_turns == "auto" and is_texture)


def augment(
    sample: Sample, key: PRNGKeyArray, *, config: AugmentConfig, is_texture: bool
) -> Sample:
    """One drawn variation of `sample`; pure, of static shape.

    The sensor noise is the image's alone: the reconstruction is held to the clean
    normal image.
    """
    orient_key, move_key, light_key, noise_key, level_key = jax.random.split(key, 5)
    flips = does_flip(config, is_texture=is_texture)
    turns = _turns(config, is_texture=is_texture)

    def placed(x: Array) -> Array:
        return _move(_orient(x, orient_key, flips=flips, turns=turns), move_key, config)

    planes = [sample.image, sample.normal, sample.mask[..., None]]
    stacked = placed(jnp.concatenate(planes, axis=-1))
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
        reference=placed(sample.distance_maps),
    )


_BATCH = 8


def symmetric_copies(
    image: UInt8[np.ndarray, "h w 3"], flips: bool, turns: bool
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The image in every way that it may lie, each once."""
    quarters = (2 if flips else 4) if turns else 1
    lying = [np.rot90(image, quarter) for quarter in range(quarters)]
    if flips:
        lying = [m for x in lying for m in (x, x[::-1], x[:, ::-1], x[::-1, ::-1])]
    return [np.ascontiguousarray(x) for x in lying]


def batched_indices(count: int) -> list[np.ndarray]:
    """Indices in batches of one size; the last is filled up with the last index."""
    return [np.array(chunk) for chunk, _ in filled(range(count), _BATCH)]


def joined_samples(parts: list[Samples], count: int) -> Samples:
    return jax.tree.map(lambda *x: jnp.concatenate(x)[:count], *parts)


def _bytes(x: Array) -> Array:
    return jnp.round(x * 255.0).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnames=("config", "is_texture"))
def vary_batch(
    samples: Samples, keys: Key[Array, "b"], *, config: AugmentConfig, is_texture: bool
) -> Samples:
    def one(image, normal, mask, reference, key) -> Sample:
        unit = Sample(image / 255.0, normal / 255.0, mask * 1.0, reference * 1.0)
        return augment(unit, key, config=config, is_texture=is_texture)

    varied = jax.vmap(one)(*samples, keys)
    return Samples(
        _bytes(varied.image),
        _bytes(varied.normal),
        varied.mask.astype(jnp.uint8),
        varied.distance_maps.astype(jnp.float16),
    )
