"""LFQ, BSQ, FSQ and SimVQ against vector-quantize-pytorch, if it is installed.

docs/how_to/add_quantizer.md lists where the two differ, and which is right.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.quantizers import make

torch: Any = pytest.importorskip("torch")
peer: Any = pytest.importorskip("vector_quantize_pytorch")
torch.set_num_threads(1)


def peer_lfq(z: np.ndarray, *, temperature: float, gamma: float = 1.0) -> Any:
    quantizer = peer.LFQ(dim=z.shape[-1], diversity_gamma=gamma)
    return quantizer.train()(
        torch.tensor(z)[None],
        inv_temperature=1 / temperature,
        return_loss_breakdown=True,
    )


def correlated(bits: int, samples: int) -> np.ndarray:
    rng = np.random.default_rng((bits, samples))
    mixing = rng.normal(size=(bits, bits)) / np.sqrt(bits)
    return (0.5 * rng.normal(size=(samples, bits)) @ mixing).astype(np.float32)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_lfq_gives_the_peer_s_values_indices_and_entropies(bits):
    z = correlated(bits, 50)
    theirs, breakdown = peer_lfq(z, temperature=1.0)
    quantizer = make("lfq", bits=bits)
    ours = quantizer.quantize({}, (), jnp.asarray(z), training=True)
    np.testing.assert_allclose(ours.z_q, theirs.quantized[0].numpy(), atol=1e-6)
    indices = quantizer.codes_to_indices(ours.codes)
    np.testing.assert_array_equal(indices, theirs.indices[0].numpy())
    # The peer clips probabilities at 1e-5 inside the logarithm.
    tolerance: dict[str, Any] = {"rel": 1e-3, "abs": 1e-4}
    for name, value in (
        ("sample_entropy", breakdown.per_sample_entropy),
        ("batch_entropy", breakdown.batch_entropy),
    ):
        expected = pytest.approx(float(value), **tolerance)
        assert float(ours.statistics[name]) == expected


def test_the_peer_s_entropy_is_too_low_where_codes_are_rarer_than_1e_5():
    # z = 0: every one of 2^18 codes has the same probability, 3.8e-6
    z = np.zeros((2, 18), np.float32)
    _, breakdown = peer_lfq(z, temperature=1.0)
    ours = make("lfq", bits=18).quantize({}, (), jnp.asarray(z), training=True)
    truth = 18 * np.log(2)
    assert float(ours.statistics["batch_entropy"]) == pytest.approx(truth, rel=1e-6)
    assert float(breakdown.batch_entropy) == pytest.approx(-np.log(1e-5), rel=1e-4)


def test_zero_is_plus_one_here_and_minus_one_in_the_peer():
    z = np.zeros((1, 3), np.float32)
    ours = make("lfq", bits=3).quantize({}, (), jnp.asarray(z), training=False)
    assert ours.z_q.tolist() == [[1.0, 1.0, 1.0]]
    assert peer_lfq(z, temperature=1.0)[0].quantized[0].tolist() == [[-1.0] * 3]


@pytest.mark.parametrize("levels", [(8, 8, 8, 5, 5, 5), (3, 4, 7)])
def test_fsq_gives_the_peer_s_values_and_indices(levels):
    z = 2 * np.random.default_rng(0).normal(size=(500, len(levels)))
    z = z.astype(np.float32)
    values, indices = peer.FSQ(levels)(torch.tensor(z)[None])
    quantizer = make("fsq", levels=levels)
    ours = quantizer.quantize({}, (), jnp.asarray(z), training=False)
    np.testing.assert_allclose(ours.z_q, values[0].numpy(), atol=1e-6)
    own = quantizer.codes_to_indices(ours.codes)
    np.testing.assert_array_equal(own, indices[0].numpy())


def test_simvq_gives_the_peer_s_values_indices_and_loss():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(60, 4)).astype(np.float32)
    torch.manual_seed(0)
    theirs = peer.SimVQ(dim=4, codebook_size=32, rotation_trick=False)
    matrix = theirs.code_transform.weight.detach().numpy().T
    quantized, indices, loss = theirs(torch.tensor(z)[None])
    state = {"codebook": jnp.asarray(theirs.frozen_codebook.numpy())}
    quantizer = make("simvq", codes=32, code_dim=4)
    params = {"matrix": jnp.asarray(matrix)}
    ours = quantizer.quantize(params, state, jnp.asarray(z), training=True)
    np.testing.assert_array_equal(ours.codes, indices[0].numpy())
    np.testing.assert_allclose(ours.z_q, quantized[0].detach().numpy(), atol=1e-5)
    assert float(ours.loss) == pytest.approx(loss.item(), rel=1e-5)


def test_bsq_gives_the_peer_s_values_and_entropies():
    z = correlated(8, 50)
    theirs, breakdown = peer.LFQ(dim=8, spherical=True).train()(
        torch.tensor(z)[None], inv_temperature=1.0, return_loss_breakdown=True
    )
    ours = make("bsq", bits=8).quantize({}, (), jnp.asarray(z), training=True)
    np.testing.assert_allclose(ours.z_q, theirs.quantized[0].numpy(), atol=1e-6)
    for name, value in (
        ("sample_entropy", breakdown.per_sample_entropy),
        ("batch_entropy", breakdown.batch_entropy),
    ):
        assert float(ours.statistics[name]) == pytest.approx(float(value), rel=1e-4)
