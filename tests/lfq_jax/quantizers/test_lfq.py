"""LFQ's entropies against brute force over all codes, and at extreme values."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.quantizers import entropy, make
from lfq_jax.quantizers.bits import bits_to_indices, indices_to_bits
from lfq_jax.quantizers.lfq import LFQ, normalised

FINE = 1e-6


@functools.partial(jax.jit, static_argnums=0)
def trained(quantizer: LFQ, z: jax.Array, state: Any = (), step: Any = None) -> Any:
    """The result of `quantize` in training, compiled."""
    return quantizer.quantize({}, state, z, training=True, step=step)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(quantizer: LFQ, z: jax.Array, state: Any = ()) -> Any:
    return jax.value_and_grad(
        lambda z: quantizer.quantize({}, state, z, training=True).loss
    )(z)


def all_codes(bits: int) -> np.ndarray:
    shifts = np.arange(bits - 1, -1, -1)
    return (((np.arange(1 << bits)[:, None] >> shifts) & 1) * 2 - 1).astype(float)


def dense(z: np.ndarray, tau: float) -> dict[str, np.ndarray]:
    """Entropies over all codes in float64, with gradients derived by hand."""
    samples, bits = z.shape
    codes = all_codes(bits)
    logits = 2 * z.astype(float) @ codes.T / tau
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    p = np.exp(log_p)
    mean = p.mean(axis=0)
    log_mean = np.log(np.where(mean > 0, mean, 1.0))

    def gradient(slope: np.ndarray) -> np.ndarray:
        centred = p * (slope - (p * slope).sum(axis=1, keepdims=True))
        return 2 * centred @ codes / tau / samples

    return {
        "distribution": mean,
        "sample": -(p * log_p).sum(axis=1).mean(),
        "batch": -(mean * log_mean).sum(),
        "sample_gradient": gradient(-log_p),
        "batch_gradient": gradient(-log_mean[None]),
    }


def factorised(z: jax.Array, tau: float) -> dict[str, jax.Array]:
    def batch_entropy(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        distribution = entropy.mean_distribution(4 * z / tau)
        return entropy.distribution_entropy(distribution), distribution

    of_sample = jax.value_and_grad(lambda z: entropy.sample_entropy(4 * z / tau))
    sample, sample_gradient = of_sample(z)
    of_batch = jax.value_and_grad(batch_entropy, has_aux=True)
    (batch, distribution), batch_gradient = of_batch(z)
    return {
        "distribution": distribution,
        "sample": sample,
        "batch": batch,
        "sample_gradient": sample_gradient,
        "batch_gradient": batch_gradient,
    }


compiled = jax.jit(factorised)


def assert_equals_dense(z: np.ndarray, tau: float) -> None:
    ours, theirs = compiled(jnp.asarray(z), tau), dense(z, tau)
    for name, value in theirs.items():
        scale = max(1.0, float(np.abs(value).max()))
        assert np.abs(np.asarray(ours[name]) - value).max() <= FINE * scale, name


def correlated(bits: int, samples: int) -> np.ndarray:
    rng = np.random.default_rng((bits, samples))
    mixing = rng.normal(size=(bits, bits)) / math.sqrt(bits)
    return (0.5 * rng.normal(size=(samples, bits)) @ mixing).astype(np.float32)


@pytest.mark.parametrize(
    "bits",
    [
        pytest.param(bits, marks=() if bits in (1, 2, 5, 12) else pytest.mark.slow)
        for bits in range(1, 13)
    ],
)
def test_entropies_and_gradients_equal_brute_force_over_all_codes(bits):
    for tau in (1.0, 0.1):
        assert_equals_dense(correlated(bits, 40), tau)


@pytest.mark.slow
def test_sixteen_bits_equal_brute_force_over_65536_codes():
    assert_equals_dense(correlated(16, 64), 0.5)


def test_samples_in_blocks_give_the_same_result_as_all_samples_at_once(monkeypatch):
    z = jnp.asarray(correlated(7, 50))
    whole = compiled(z, 0.3)
    monkeypatch.setattr(entropy, "_BLOCK", 8 * 16)  # 8 samples, so the last is padded
    blocks = jax.jit(lambda z: factorised(z, 0.3))(z)
    for name, value in whole.items():
        np.testing.assert_allclose(blocks[name], value, rtol=1e-5, atol=1e-6)


def test_twenty_four_bits_have_the_entropy_of_independent_bits():
    # Equal samples: the batch has each sample's entropy, and bits stay independent.
    z = np.tile(np.linspace(-0.5, 0.5, 24, dtype=np.float32), (3, 1))

    @jax.jit
    def entropies(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        distribution = entropy.mean_distribution(4 * z)
        of_batch = entropy.distribution_entropy(distribution)
        return jnp.sum(distribution), of_batch, entropy.sample_entropy(4 * z)

    total, of_batch, of_sample = entropies(z)
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)
    np.testing.assert_allclose(of_batch, of_sample, rtol=1e-5)


def test_gradient_of_the_regulariser_equals_finite_differences():
    quantizer = make("lfq", bits=5, entropy_weight=1.0, gamma=0.7, temperature=0.8)
    z = correlated(5, 12)
    direction = np.random.default_rng(3).normal(size=z.shape).astype(np.float32)

    def along(size: float) -> float:
        moved = jnp.asarray(z + np.float32(size) * direction)
        return float(trained(quantizer, moved).loss)

    # no entry of z changes its sign within the step
    step = 0.5 * float(np.abs(z / direction).min())
    step = min(step, 1e-2)
    slope = (along(step) - along(-step)) / (2 * step)
    exact = float(np.sum(np.asarray(loss_and_gradient(quantizer, z)[1]) * direction))
    assert abs(slope - exact) <= 1e-2 * max(1.0, abs(exact))


def test_the_loss_is_its_terms_with_their_weights():
    fields: dict[str, Any] = {
        "entropy_weight": 0.3,
        "gamma": 0.6,
        "commitment_weight": 0.5,
    }
    z = correlated(6, 30)
    quantizer = make("lfq", bits=6, temperature=0.7, **fields)
    quantized = trained(quantizer, jnp.asarray(z))
    terms = dense(z, 0.7)
    commitment = np.mean((z - np.where(z >= 0, 1, -1)) ** 2)
    expected = 0.3 * (terms["sample"] - 0.6 * terms["batch"]) + 0.5 * commitment
    assert float(quantized.loss) == pytest.approx(expected, abs=1e-6)
    assert float(quantized.statistics["batch_entropy"]) == pytest.approx(
        terms["batch"], abs=1e-5
    )


@pytest.mark.parametrize(
    ("normalisation", "dtype"),
    [
        ("none", "bfloat16"),
        ("layer", "float32"),
        ("l2", "float32"),
        pytest.param("none", "float32", marks=pytest.mark.slow),
        pytest.param("layer", "bfloat16", marks=pytest.mark.slow),
        pytest.param("l2", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_extreme_z_gives_finite_values_and_gradients(normalisation, dtype):
    quantizer = make("lfq", bits=6, temperature=0.01, normalisation=normalisation)
    signs = np.sign(np.random.default_rng(0).normal(size=(9, 6)))
    for size in (1e4, 1e15, 0.0, -0.0, 1e-20, 1e-45):
        z = jnp.asarray(signs * size, dtype)
        value, gradient = loss_and_gradient(quantizer, z)
        assert gradient.dtype == dtype
        assert np.isfinite(value), size
        assert np.isfinite(np.asarray(gradient, np.float32)).all(), size


def test_zero_and_minus_zero_both_become_plus_one():
    z = jnp.asarray([0.0, -0.0, 1.0, -1.0])
    quantized = trained(make("lfq", bits=4), z)
    assert quantized.z_q.tolist() == [1.0, 1.0, 1.0, -1.0]


def test_z_q_is_exactly_a_sign_however_large_z_is():
    z = jnp.asarray([1e4, -1e4, 3e7, -1e-30])
    quantized = trained(make("lfq", bits=4), z)
    assert quantized.z_q.tolist() == [1.0, -1.0, 1.0, -1.0]


def test_bfloat16_keeps_its_type_and_loses_nothing_inside():
    z = jnp.asarray(correlated(8, 40)).astype(jnp.bfloat16)
    quantizer = make("lfq", bits=8)
    half = trained(quantizer, z)
    full = trained(quantizer, z.astype(jnp.float32))
    assert half.z_q.dtype == jnp.bfloat16
    assert half.loss.dtype == jnp.float32
    assert float(half.loss) == float(full.loss)
    np.testing.assert_array_equal(half.codes, full.codes)


def test_the_batch_entropy_stays_below_its_ceiling():
    z = jax.random.normal(jax.random.key(0), (32, 12))
    statistics = trained(make("lfq", bits=12), z).statistics
    assert statistics["batch_entropy"] <= statistics["entropy_ceiling"] + 1e-5
    confident = make("lfq", bits=12, temperature=1e-3)
    statistics = trained(confident, z).statistics
    assert statistics["entropy_ceiling"] == pytest.approx(math.log(32), abs=1e-2)


def test_a_running_distribution_exceeds_the_ceiling_of_one_batch():
    quantizer = make("lfq", bits=8, temperature=0.01, running_momentum=0.9)
    _, state = quantizer.init(jax.random.key(0))
    batches = jax.random.normal(jax.random.key(1), (30, 4, 8))
    entropies = []
    for batch in batches:
        quantized = trained(quantizer, batch, state)
        state = quantized.state
        entropies.append(float(quantized.statistics["batch_entropy"]))
    assert entropies[0] <= math.log(4) + 1e-3
    assert entropies[-1] > 2 * math.log(4)
    np.testing.assert_allclose(
        np.sum(state["distribution"]) / np.asarray(state["weight"]), 1.0, rtol=1e-4
    )


def test_the_first_step_of_a_running_distribution_equals_the_paper_s_setting():
    z = jnp.asarray(correlated(6, 20))
    running = make("lfq", bits=6, running_momentum=0.99)
    state = running.init(jax.random.key(0))[1]
    first = loss_and_gradient(running, z, state)
    plain = loss_and_gradient(make("lfq", bits=6), z)
    for ours, theirs in zip(first, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


def test_annealing_goes_from_its_factor_to_one():
    z = jnp.asarray(correlated(4, 16))
    fields: dict[str, Any] = {"bits": 4, "commitment_weight": 0.0}
    annealed = make("lfq", anneal_steps=10, anneal_entropy_weight=3.0, **fields)
    plain = float(trained(make("lfq", **fields), z).loss)
    losses = [float(trained(annealed, z, (), step).loss) for step in (0, 5, 10, 99)]
    assert losses == pytest.approx([3 * plain, 2 * plain, plain, plain], rel=1e-5)


def test_annealing_without_a_step_is_refused():
    quantizer = make("lfq", bits=4, anneal_steps=10, anneal_temperature=2.0)
    with pytest.raises(ValueError, match="step must be given"):
        quantizer.quantize({}, (), jnp.ones((3, 4)), training=True)


def test_layer_normalisation_gives_mean_0_and_deviation_1_and_l2_a_fixed_length():
    z = np.random.default_rng(0).normal(3, 5, (20, 8)).astype(np.float32)
    layer = np.asarray(jax.jit(normalised, static_argnums=1)(z, "layer"))
    np.testing.assert_allclose(layer.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(layer.std(axis=-1), 1, rtol=1e-4)
    sphere = np.asarray(jax.jit(normalised, static_argnums=1)(z, "l2"))
    np.testing.assert_allclose(np.linalg.norm(sphere, axis=-1), 8**0.5, rtol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 16, 31, 32, 33, 40, 64])
def test_indices_are_the_bits_read_as_a_binary_number(bits):
    codes = np.random.default_rng(bits).integers(0, 2, (7, bits)).astype(bool)
    codes[0], codes[1] = False, True
    indices = bits_to_indices(jnp.asarray(codes))
    spelled = [int("".join("01"[int(bit)] for bit in code), 2) for code in codes]
    assert [int(index) for index in np.asarray(indices)] == spelled
    np.testing.assert_array_equal(indices_to_bits(indices, bits=bits), codes)


def test_more_than_32_bits_inside_jit_are_refused_in_one_line():
    with pytest.raises(ValueError, match="40 bits need uint64"):
        jax.jit(bits_to_indices)(jnp.ones((2, 40), bool))


def test_bit_statistics_detect_dead_and_copied_bits():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 4)).astype(np.float32)
    z[:, 1] = 2.0  # dead
    z[:, 3] = -z[:, 0]  # the first bit, negated
    statistics = trained(make("lfq", bits=4), jnp.asarray(z)).statistics
    assert float(statistics["dead_bits"]) == 1
    assert float(statistics["bit_correlation"]) == pytest.approx(1.0, abs=1e-5)
    assert float(statistics["used_codes"]) == 4
    balance = np.abs(np.where(z >= 0, 1, -1).mean(axis=0)).mean()
    assert float(statistics["bit_imbalance"]) == pytest.approx(balance, abs=1e-6)


def test_perplexity_and_used_codes_equal_a_count_of_each_code():
    z = np.random.default_rng(5).normal(size=(300, 6)).astype(np.float32)
    z[:, 2:] *= np.sign(z[:, :1])
    z[:, 3] = 1
    quantizer = make("lfq", bits=6)
    quantized = trained(quantizer, jnp.asarray(z))
    indices = np.asarray(quantizer.codes_to_indices(quantized.codes))
    _, counts = np.unique(indices, return_counts=True)
    share = counts / counts.sum()
    perplexity = math.exp(-(share * np.log(share)).sum())
    assert float(quantized.statistics["used_codes"]) == len(counts)
    assert float(quantized.statistics["perplexity"]) == pytest.approx(
        perplexity, rel=1e-4
    )


def test_bits_that_do_not_fit_in_memory_are_refused_with_their_size():
    with pytest.raises(ValueError, match=r"2\^40 codes takes 12,288.0 GiB"):
        make("lfq", bits=40)
    assert make("lfq", bits=40, entropy_weight=0.0).code_count == 1 << 40


@pytest.mark.parametrize(
    "fields",
    [
        {"bits": 0},
        {"bits": -3},
        {"bits": 65},
        {"temperature": 0.0},
        {"entropy_weight": math.nan},
        {"running_momentum": 1.0},
        {"normalisation": "batch"},
    ],
)
def test_fields_out_of_range_are_refused_by_name(fields):
    # TypeError: in tests, beartype checks the annotation before __post_init__ runs.
    with pytest.raises((ValueError, TypeError), match=next(iter(fields))):
        make("lfq", **fields)
