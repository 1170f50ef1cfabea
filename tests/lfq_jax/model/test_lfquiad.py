"""The networks' shapes, sizes and the quantized bottleneck."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lfq_jax.config import PRESETS, ModelConfig
from lfq_jax.memory_bank.distances import empty_maps
from lfq_jax.model.layers import depth_to_space, max_pool, space_to_depth, upsample
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.variables import parameter_count
from lfq_jax.quantizers.config import LFQConfig, NoneConfig

TINY = ModelConfig(
    image_px=32,
    stem=2,
    reconstructive_widths=(8, 12),
    discriminative_widths=(8, 8, 12),
    quantizer=LFQConfig(bits=6),
)


def _images(count: int = 2, px: int = 32) -> jax.Array:
    return jax.random.uniform(jax.random.key(5), (count, px, px, 3))


# One program each: operation by operation, they would be hundreds.
init = jax.jit(Model(TINY).init)
train = jax.jit(functools.partial(Model(TINY).apply, training=True, step=0))
score = jax.jit(functools.partial(Model(TINY).apply, training=False))


def test_paper_preset_without_a_quantizer_has_draems_parameter_counts():
    config = dataclasses.replace(PRESETS["paper"].model, quantizer=NoneConfig())
    params = jax.eval_shape(Model(config).init, jax.random.key(0)).params
    assert parameter_count(params["reconstructive"]) == 69_048_579
    assert parameter_count(params["discriminative"]) == 28_374_146


def test_paper_preset_has_the_papers_sizes_and_schedule():
    preset = PRESETS["paper"]
    assert preset.model.image_px == 256
    assert preset.model.bottleneck == (16, 16)
    assert isinstance(preset.model.quantizer, LFQConfig)
    assert preset.model.quantizer.bits == 16
    assert preset.model.quantizer.entropy_weight == 0.02
    assert preset.model.quantizer.gamma == 1.0
    assert preset.train.epochs == 800
    assert preset.train.batch_size == 1
    assert preset.train.reconstructive_learning_rate == 3e-4
    assert preset.train.discriminative_learning_rate == 1e-4
    assert preset.train.decay_at == (0.8, 0.9)
    assert preset.train.patience_epochs == 50
    assert preset.score.image_score == "mean"


@pytest.mark.parametrize("size", [None, (128, 320)])
@pytest.mark.parametrize("preset", PRESETS)
def test_reconstruction_and_logits_have_the_images_size(
    preset: str, size: tuple[int, int] | None
):
    config = dataclasses.replace(PRESETS[preset].model, size_px=size)
    model = Model(config)
    images = jax.ShapeDtypeStruct((2, *config.size, 3), jnp.float32)
    maps = empty_maps((2, *config.grid), model.map_channels, np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    outputs, _ = jax.eval_shape(
        lambda v, x, maps: model.apply(v, x, maps, training=False),
        variables,
        images,
        maps,
    )
    assert outputs.reconstruction.shape == images.shape
    assert outputs.logits.shape == (*images.shape[:3], 2)
    assert outputs.codes.shape[:3] == (2, *config.bottleneck)


@pytest.mark.parametrize("widths", [(4, 6), (4, 6, 8), (4, 6, 8, 8, 8)])
def test_any_number_of_stages_gives_the_images_size(widths: tuple[int, ...]):
    config = dataclasses.replace(
        TINY, stem=1, reconstructive_widths=widths, discriminative_widths=widths
    )
    model = Model(config)
    apply = functools.partial(model.apply, training=True, step=0)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    outputs, _ = jax.eval_shape(apply, variables, _images())
    assert outputs.reconstruction.shape == (2, 32, 32, 3)
    assert outputs.logits.shape == (2, 32, 32, 2)


def test_same_key_gives_same_weights_and_another_key_others():
    one, again, other = (init(jax.random.key(k)) for k in (1, 1, 2))
    same = jax.tree.map(np.array_equal, one.params, again.params)
    assert all(jax.tree.leaves(same))
    assert not np.array_equal(
        one.params["discriminative"]["head"]["kernel"],
        other.params["discriminative"]["head"]["kernel"],
    )


def test_scoring_changes_no_variables_and_images_do_not_affect_each_other():
    variables = init(jax.random.key(0))
    images = _images(4)
    outputs, after = score(variables, images)
    alone, _ = score(variables, images[1:2])
    same = jax.tree.map(np.array_equal, variables, after)
    assert all(jax.tree.leaves(same))
    np.testing.assert_allclose(outputs.logits[1], alone.logits[0], atol=1e-5)


def test_training_moves_the_running_statistics():
    variables = init(jax.random.key(0))
    _, after = train(variables, _images())
    moved = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), variables.statistics, after.statistics
    )
    assert all(jax.tree.leaves(moved))


def test_codes_are_binary_and_reach_the_decoder_through_the_straight_through_gradient():
    variables = init(jax.random.key(0))
    outputs, _ = train(variables, _images())
    assert outputs.codes.shape == (2, 8, 8, 6)
    assert outputs.codes.dtype == bool

    def error(params):
        out, _ = train(variables._replace(params=params), _images())
        return jnp.mean(out.reconstruction**2)

    gradient = jax.jit(jax.grad(error))(variables.params)
    first = gradient["reconstructive"]["encoder"]["stages"][0]["units"][0]
    assert float(jnp.abs(first["conv"]["kernel"]).max()) > 0


def test_upsampling_equals_jax_image_resize():
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    expected = jax.image.resize(x, (2, 10, 14, 3), "bilinear")
    np.testing.assert_allclose(upsample(x), expected, atol=1e-6)


def test_max_pool_equals_flax():
    x = jax.random.normal(jax.random.key(0), (2, 6, 8, 3))
    expected = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
    np.testing.assert_array_equal(max_pool(x), expected)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_depth_to_space_inverts_space_to_depth(factor: int):
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, factor), factor), x)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image_px", 36, "image_px must be a multiple of 8"),
        ("stem", 0, "stem must be at least 1"),
        ("reconstructive_widths", (8,), "two stages or more"),
        ("discriminative_widths", (8, 0), "positive"),
    ],
)
def test_a_config_that_cannot_work_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **{field: value})
