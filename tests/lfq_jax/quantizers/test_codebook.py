"""The quantizers with a codebook: search, moving averages, revival."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.quantizers import codebook, make


@functools.partial(jax.jit, static_argnums=0)
def step(quantizer: Any, state: Any, z: jax.Array, key: jax.Array) -> Any:
    return quantizer.quantize({}, state, z, training=True, key=key)


def test_the_nearest_vector_is_found_at_once_and_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(37, 4)).astype(np.float32)
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    distance = ((z[:, None] - vectors[None]) ** 2).sum(axis=-1)
    expected = distance.argmin(axis=1)
    arrays = jnp.asarray(z), jnp.asarray(vectors)
    np.testing.assert_array_equal(codebook.nearest(*arrays), expected)
    monkeypatch.setattr(codebook, "_BLOCK", 500)  # ten z at a time
    np.testing.assert_array_equal(codebook.nearest(*arrays), expected)


def test_of_equally_near_vectors_the_first_is_taken():
    vectors = jnp.asarray([[9.0], [1.0], [-1.0], [1.0]])
    assert codebook.nearest(jnp.asarray([[0.0], [2.0]]), vectors).tolist() == [1, 1]


def test_looking_up_a_code_out_of_range_gives_nan():
    vectors = jnp.ones((4, 2))
    looked_up = codebook.look_up(vectors, jnp.asarray([3, 4], "uint32"))
    assert not jnp.isnan(looked_up[0]).any()
    assert jnp.isnan(looked_up[1]).all()


def test_vq_follows_the_moving_averages_of_its_equations():
    quantizer = make("vq", codes=2, code_dim=1, momentum=0.5, revive_below=0.0)
    state = {
        "codebook": jnp.asarray([[0.0], [10.0]]),
        "count": jnp.asarray([4.0, 2.0]),
        "total": jnp.asarray([[0.0], [20.0]]),
    }
    z = jnp.asarray([[1.0], [2.0], [12.0]])
    quantized = step(quantizer, state, z, jax.random.key(0))
    assert quantized.codes.tolist() == [0, 0, 1]
    # N = 0.5 N + 0.5 n; m = 0.5 m + 0.5 sum z; e = m / N
    np.testing.assert_allclose(quantized.state["count"], [3.0, 1.5])
    np.testing.assert_allclose(quantized.state["total"], [[1.5], [16.0]])
    np.testing.assert_allclose(quantized.state["codebook"], [[0.5], [16 / 1.5]])
    # 0.25 mean of 1, 4, 4
    assert float(quantized.loss) == pytest.approx(0.25 * 3.0)


def test_vq_replaces_dead_codes_by_different_z_of_the_batch():
    quantizer = make("vq", codes=6, code_dim=2)
    state = quantizer.init(jax.random.key(0))[1]
    z = jax.random.normal(jax.random.key(1), (3, 2)) + 5
    quantized = step(quantizer, state, z, jax.random.key(2))
    revived = int(quantized.statistics["revived_codes"])
    assert revived == 3  # at most the number of z
    vectors = np.asarray(quantized.state["codebook"])
    fresh = [any(np.allclose(row, one) for one in np.asarray(z)) for row in vectors]
    assert sum(fresh) >= 3
    assert len(np.unique(vectors, axis=0)) == 6


def test_vq_with_revival_uses_more_codes_than_without():
    z = jax.random.normal(jax.random.key(3), (20, 64, 4)) * 0.1 + 3.0

    def used(revive_below: float) -> float:
        quantizer = make("vq", codes=64, code_dim=4, revive_below=revive_below)
        state = quantizer.init(jax.random.key(0))[1]
        use = jnp.zeros(())
        for at, batch in enumerate(z):
            quantized = step(quantizer, state, batch, jax.random.key(at))
            state, use = quantized.state, quantized.statistics["used_codes"]
        return float(use)

    assert used(0.0) <= 3  # all z are near one corner of the initial codebook
    assert used(1e-3) >= 20


def test_vq_keeps_codes_that_are_in_use():
    quantizer = make("vq", codes=3, code_dim=1)
    vectors = jnp.asarray([[0.0], [5.0], [9.0]])
    state = {"codebook": vectors, "count": jnp.ones(3), "total": vectors}
    z = jnp.asarray([[0.0], [0.0], [5.0]])
    quantized = step(quantizer, state, z, jax.random.key(0))
    assert float(quantized.statistics["revived_codes"]) == 0
    np.testing.assert_allclose(quantized.state["codebook"], vectors)


def test_simvq_moves_every_code_through_one_matrix():
    quantizer = make("simvq", codes=30, code_dim=3)
    params, state = quantizer.init(jax.random.key(0))
    z = 2.0 * state["codebook"]

    @jax.jit
    def descend(params: Any) -> Any:
        loss = jax.value_and_grad(
            lambda p: quantizer.quantize(p, state, z, training=True).loss
        )
        value, gradient = loss(params)
        return value, jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)

    losses = []
    for _ in range(200):
        value, params = descend(params)
        losses.append(float(value))
    assert losses[-1] < 0.2 * losses[0]
    assert np.linalg.norm(params["matrix"] - 2 * np.eye(3)) < 0.5


def test_gumbel_vq_samples_in_training_and_takes_the_most_probable_in_scoring():
    quantizer = make("gumbel_vq", codes=6, code_dim=3)
    params, state = quantizer.init(jax.random.key(0))
    z = jnp.tile(jnp.asarray([[0.3, -0.2, 0.1]]), (20000, 1))
    drawn = jax.jit(
        lambda key: quantizer.quantize(params, state, z, training=True, key=key)
    )(jax.random.key(4))
    frequency = np.bincount(np.asarray(drawn.codes), minlength=6) / len(z)
    probability = jax.nn.softmax(z[0] @ params["logits"])
    np.testing.assert_allclose(frequency, probability, atol=0.015)
    scored = quantizer.quantize(params, state, z[:5], training=False)
    assert set(scored.codes.tolist()) == {int(jnp.argmax(probability))}


def test_gumbel_vq_has_no_loss_where_codes_are_equally_likely():
    quantizer = make("gumbel_vq", codes=16, code_dim=3)
    params, state = quantizer.init(jax.random.key(0))

    @jax.jit
    def loss(logits: jax.Array) -> jax.Array:
        weights = params | {"logits": logits}
        key = jax.random.key(1)
        z = jnp.ones((4, 3))
        return quantizer.quantize(weights, state, z, training=True, key=key).loss

    assert float(loss(jnp.zeros((3, 16)))) == pytest.approx(0.0, abs=1e-8)
    one_code = jnp.zeros((3, 16)).at[:, 2].set(100.0)
    assert float(loss(one_code)) == pytest.approx(5e-4 * np.log(16), rel=1e-4)
