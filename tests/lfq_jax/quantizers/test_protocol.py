"""The contract of the quantizer protocol, tested on every registered quantizer."""

import functools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.quantizers import QUANTIZERS, config_of, make, name_of
from lfq_jax.quantizers.none import NoQuantizer

SMALL: dict[str, dict[str, Any]] = {
    "lfq": {"bits": 6},
    "residual_lfq": {"bits": 4, "stages": 3},
    "bsq": {"bits": 6},
    "fsq": {"levels": (8, 5, 3, 2)},
    "vq": {"codes": 40, "code_dim": 5},
    "simvq": {"codes": 40, "code_dim": 5},
    "gumbel_vq": {"codes": 40, "code_dim": 5},
    "none": {},
}
DISCRETE = [name for name in SMALL if name != "none"]
KEY = jax.random.key(7)


def small(name: str) -> Any:
    return make(name, dim=5, **SMALL[name])


def z_for(quantizer: Any, *batch: int) -> jax.Array:
    """Normal z. Most tests share its default shape, so that they compile once."""
    return jax.random.normal(jax.random.key(1), (*(batch or (30,)), quantizer.dim))


@functools.cache
def initial(quantizer: Any) -> Any:
    with jax.ensure_compile_time_eval():  # the first call may come from a traced test
        return jax.jit(quantizer.init)(jax.random.key(0))


@functools.partial(jax.jit, static_argnums=0, static_argnames="training")
def applied(quantizer: Any, params: Any, state: Any, z: jax.Array, training: bool):
    return quantizer.quantize(params, state, z, training=training, key=KEY, step=3)


def quantized(quantizer: Any, z: jax.Array, *, training: bool = True) -> Any:
    return applied(quantizer, *initial(quantizer), z, training=training)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.grad, argnums=1)
def gradient_of_z_q(quantizer: Any, z: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.sum(weights * quantized(quantizer, z).z_q)


def test_every_registered_quantizer_is_tested_here():
    assert set(SMALL) == set(QUANTIZERS)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_dtypes_and_statistics_follow_the_protocol(name):
    quantizer = small(name)
    z = jax.ShapeDtypeStruct((2, 3, 4, quantizer.dim), jnp.bfloat16)
    state = initial(quantizer)[1]
    result = jax.eval_shape(lambda z: quantized(quantizer, z), z)
    assert result.z_q.shape == z.shape
    assert result.z_q.dtype == z.dtype
    assert result.codes.shape[:3] == (2, 3, 4)
    for scalar in (result.loss, *result.statistics.values()):
        assert scalar.shape == ()
        assert scalar.dtype == jnp.float32
    for new, old in zip(
        jax.tree.leaves(result.state), jax.tree.leaves(state), strict=True
    ):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)


@pytest.mark.parametrize("name", SMALL)
def test_statistics_are_finite_and_used_codes_do_not_exceed_code_count(name):
    statistics = quantized(small(name), z_for(small(name))).statistics
    assert all(np.isfinite(value) for value in statistics.values())
    if name in DISCRETE:
        used = float(statistics["used_codes"])
        assert 1 <= float(statistics["perplexity"]) <= used + 1e-3
        assert used <= min(30, small(name).code_count)


@pytest.mark.parametrize("name", SMALL)
def test_scoring_keeps_the_state_and_has_no_loss(name):
    quantizer = small(name)
    result = quantized(quantizer, z_for(quantizer), training=False)
    assert float(result.loss) == 0.0
    assert result.statistics == {}
    state = initial(quantizer)[1]
    jax.tree.map(np.testing.assert_array_equal, result.state, state)


@pytest.mark.parametrize("name", DISCRETE)
def test_codes_convert_to_indices_and_back_and_decode_to_z_q(name):
    quantizer = small(name)
    params, state = initial(quantizer)
    result = quantized(quantizer, z_for(quantizer))
    indices = quantizer.codes_to_indices(result.codes)
    assert indices.shape == (30,)
    assert indices.dtype == jnp.uint32
    assert int(indices.max()) < quantizer.code_count
    np.testing.assert_array_equal(quantizer.indices_to_codes(indices), result.codes)
    decoded = quantizer.decode(params, state, result.codes)
    np.testing.assert_allclose(decoded, result.z_q, atol=1e-6)


@pytest.mark.parametrize("name", DISCRETE)
def test_every_index_has_a_different_code_and_a_different_value(name):
    quantizer = small(name)
    params, state = initial(quantizer)
    indices = jnp.arange(quantizer.code_count, dtype="uint32")
    codes = quantizer.indices_to_codes(indices)
    np.testing.assert_array_equal(quantizer.codes_to_indices(codes), indices)
    values = np.asarray(quantizer.decode(params, state, codes))
    assert len(np.unique(values, axis=0)) == quantizer.code_count


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("wrong", [-1, "code_count"])
def test_indices_out_of_range_are_refused(name, wrong):
    quantizer = small(name)
    index = quantizer.code_count if wrong == "code_count" else wrong
    with pytest.raises(ValueError, match=rf"in \[0, {quantizer.code_count}\), got"):
        quantizer.indices_to_codes(jnp.asarray([0, index]))


def wrong_codes(name: str) -> list[tuple[Any, str]]:
    """Codes that the quantizer cannot have made, and what a refusal says of them."""
    quantizer = small(name)
    codes = np.asarray(initial_codes(name))
    if codes.dtype == bool:
        shape = ", ".join(map(str, codes.shape[1:]))
        return [
            (codes.astype(np.int32), "codes must hold bools, got dtype int32"),
            (codes * 2.0 - 1.0, "codes must hold bools, got dtype float64"),
            (codes[..., :-1], rf"codes must have shape \[..., {shape}\], got"),
        ]
    wrong = [(codes.astype(np.float32), "codes must be integers, got dtype float32")]
    if name == "fsq":
        for digit, level in ((0, 8), (3, -1)):
            beyond = codes.copy()
            beyond[2, digit] = level
            rule = rf"codes\[..., {digit}\] must be in \[0, \d\), got {level}"
            wrong.append((beyond, rule))
        return [*wrong, (codes[..., :-1], r"must have shape \[..., 4\], got")]
    for value in (-1, quantizer.code_count):
        rule = rf"codes must be in \[0, {quantizer.code_count}\), got {value}"
        wrong.append((np.array([0, value]), rule))
    return wrong


def initial_codes(name: str) -> jax.Array:
    quantizer = small(name)
    return quantized(quantizer, z_for(quantizer), training=False).codes


@pytest.mark.parametrize("name", DISCRETE)
def test_codes_that_a_quantizer_cannot_have_made_are_refused(name):
    quantizer = small(name)
    params, state = initial(quantizer)
    for codes, rule in wrong_codes(name):
        with pytest.raises(ValueError, match=rule):
            quantizer.codes_to_indices(codes)
        with pytest.raises(ValueError, match=rule):
            quantizer.decode(params, state, codes)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_an_empty_batch_is_refused_in_training_and_empty_in_scoring(name, batch):
    quantizer = small(name)
    params, state = initial(quantizer)
    z = jnp.zeros((*batch, quantizer.dim))
    with pytest.raises(ValueError, match="z must hold at least one position in train"):
        quantizer.quantize(params, state, z, training=True, key=KEY)
    found = quantizer.quantize(params, state, z, training=False)
    assert found.z_q.shape == z.shape
    if name in DISCRETE:
        indices = quantizer.codes_to_indices(found.codes)
        assert indices.shape == batch
        assert quantizer.indices_to_codes(indices).shape == found.codes.shape
        assert quantizer.decode(params, state, found.codes).shape == z.shape


@pytest.mark.parametrize("name", ["lfq", "residual_lfq", "bsq", "vq", "simvq", "none"])
def test_quantising_twice_equals_quantising_once(name):
    quantizer = small(name)
    once = quantized(quantizer, z_for(quantizer)).z_q
    np.testing.assert_allclose(quantized(quantizer, once).z_q, once, atol=1e-6)


@pytest.mark.parametrize("name", ["lfq", "residual_lfq", "vq", "simvq", "none"])
def test_the_gradient_is_straight_through(name):
    quantizer = small(name)
    z = z_for(quantizer)
    weights = jax.random.normal(jax.random.key(5), z.shape)
    np.testing.assert_array_equal(gradient_of_z_q(quantizer, z, weights), weights)


def test_the_gradient_of_bsq_equals_the_gradient_of_the_projection_to_the_sphere():
    quantizer = small("bsq")
    z, weights = z_for(quantizer), z_for(quantizer)[::-1]

    def projected(z: jax.Array) -> jax.Array:
        return jnp.sum(weights * z / jnp.linalg.norm(z, axis=-1, keepdims=True))

    gradient = gradient_of_z_q(quantizer, z, weights)
    np.testing.assert_allclose(gradient, jax.jit(jax.grad(projected))(z), atol=1e-6)


def test_the_gradient_of_fsq_equals_the_gradient_of_its_tanh():
    quantizer = small("fsq")
    z = z_for(quantizer)
    half_width = np.asarray(quantizer.config.levels) // 2

    def squashed(z: jax.Array) -> jax.Array:
        return jnp.sum(quantizer.bounded(z) / half_width)

    gradient = gradient_of_z_q(quantizer, z, np.ones(z.shape, np.float32))
    np.testing.assert_allclose(gradient, jax.jit(jax.grad(squashed))(z), atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_vmap_over_batches_equals_a_loop_over_batches(name):
    quantizer = small(name)
    z = z_for(quantizer, 3, 30)
    mapped = jax.jit(jax.vmap(functools.partial(quantized, quantizer)))(z)
    for index, each in enumerate(np.asarray(z)):
        alone = quantized(quantizer, jnp.asarray(each))
        codes, loss = np.asarray(mapped.codes)[index], np.asarray(mapped.loss)[index]
        np.testing.assert_array_equal(codes, alone.codes)
        np.testing.assert_allclose(loss, alone.loss, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_the_samples_does_not_matter(name):
    quantizer = small(name)
    z = z_for(quantizer)
    order = np.random.default_rng(0).permutation(30)
    other = jnp.asarray(np.asarray(z)[order])
    loss, shuffled = quantized(quantizer, z).loss, quantized(quantizer, other).loss
    np.testing.assert_allclose(shuffled, loss, rtol=1e-5)
    scored = np.asarray(quantized(quantizer, z, training=False).codes)[order]
    again = quantized(quantizer, other, training=False).codes
    np.testing.assert_array_equal(again, scored)


@pytest.mark.parametrize("name", SMALL)
def test_training_compiles_once_and_has_finite_gradients(name):
    quantizer = small(name)
    traces = []

    @jax.jit
    def step(params: Any, state: Any, z: jax.Array, at: jax.Array) -> Any:
        traces.append(None)

        def loss(params: Any, z: jax.Array) -> Any:
            result = quantizer.quantize(
                params,
                state,
                z,
                training=True,
                key=jax.random.fold_in(KEY, at),
                step=at,
            )
            return result.loss + jnp.mean(result.z_q**2), result.state

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, z)

    params, state = initial(quantizer)
    for at in range(3):
        z = z_for(quantizer) * 10.0**at
        (value, state), gradients = step(params, state, z, jnp.asarray(at))
        for leaf in jax.tree.leaves((value, gradients)):
            assert np.isfinite(leaf).all()
    assert len(traces) == 1


@pytest.mark.parametrize("name", SMALL)
def test_nan_in_z_is_counted_and_never_looks_quantised(name):
    quantizer = small(name)
    z = z_for(quantizer).at[2, 1].set(jnp.nan)
    result = quantized(quantizer, z)
    assert float(result.statistics["non_finite"]) == 1.0
    assert np.isnan(np.asarray(result.z_q)[2]).any()


@pytest.mark.parametrize("name", SMALL)
def test_z_of_the_wrong_width_or_type_is_refused(name):
    quantizer = small(name)
    with pytest.raises(ValueError, match=f"z must have a last axis of {quantizer.dim}"):
        quantizer.quantize(*initial(quantizer), jnp.ones((3, 9)), training=False)
    whole = jnp.ones((3, quantizer.dim), int)
    with pytest.raises(ValueError, match="z must hold floats, got dtype int32"):
        quantizer.quantize(*initial(quantizer), whole, training=False)


def test_unknown_names_are_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"got 'lqf', did you mean 'lfq'\?"):
        make("lqf")
    with pytest.raises(ValueError, match="a field of fsq must be one of levels, got"):
        make("fsq", level=3)


def test_a_config_determines_its_quantizer_and_its_name():
    for name in SMALL:
        config = config_of(name, **SMALL[name])
        assert name_of(config) == name
        assert make(config, dim=5) == small(name)
    with pytest.raises(ValueError, match="must be of a registered kind, got int"):
        make(3)


def test_none_requires_dim():
    with pytest.raises(ValueError, match="dim must be at least 1 for none, got None"):
        make("none")
    assert isinstance(make("none", dim=3), NoQuantizer)


@pytest.mark.parametrize("method", ["codes_to_indices", "indices_to_codes"])
def test_none_refuses_to_convert_codes(method):
    with pytest.raises(ValueError, match="none has no codes"):
        getattr(small("none"), method)(jnp.zeros((3, 0)))


@pytest.mark.parametrize(
    ("name", "fields", "rule"),
    [
        ("fsq", {"levels": (8, 1)}, "levels must be 2 or more each"),
        ("fsq", {"levels": ()}, "levels must be at least one number"),
        ("fsq", {"levels": (1000,) * 4}, r"product of levels must be at most 2\^32"),
        ("vq", {"codes": 1}, "codes must be in"),
        ("vq", {"momentum": 1.0}, "momentum must be in"),
        ("simvq", {"code_dim": 0}, "code_dim must be at least 1"),
        ("gumbel_vq", {"temperature": -1.0}, "temperature must be positive"),
        ("residual_lfq", {"stages": 0}, "stages must be at least 1"),
        ("residual_lfq", {"bits": 20, "stages": 4}, "bits times stages"),
        ("bsq", {"bits": 0}, "bits must be in"),
    ],
)
def test_configs_refuse_invalid_fields(name, fields, rule):
    with pytest.raises(ValueError, match=rule):
        config_of(name, **fields)


@pytest.mark.parametrize("name", ["vq", "gumbel_vq"])
def test_quantizers_that_sample_require_a_key_in_training(name):
    quantizer = small(name)
    params, state = initial(quantizer)
    z = z_for(quantizer)
    step = jax.jit(quantizer.quantize, static_argnames="training")
    with pytest.raises(ValueError, match="key must be given in training"):
        step(params, state, z, training=True)
    step(params, state, z, training=False)


def test_importing_the_configs_does_not_load_jax():
    program = (
        "import sys; from lfq_jax.quantizers.config import LFQConfig; "
        "LFQConfig(bits=4); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    # The check itself can fail.
    program = program.replace("config import LFQConfig", "lfq import LFQConfig")
    assert subprocess.run([sys.executable, "-c", program]).returncode == 1
