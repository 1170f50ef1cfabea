"""The random streams of a training: independent, and as documented."""

import itertools

import jax
import numpy as np
import pytest

from lfq_jax.training.random_streams import random_streams

NUMBERS = {
    "weights": 2,
    "steps": 3,
    "copies": 1000,
    "training_anomalies": 1001,
    "training_good": 1002,
    "validation_anomalies": 1003,
    "validation_good": 1004,
    "normalizer": 1005,
}


def _bits(key: jax.Array) -> list[int]:
    return np.asarray(jax.random.key_data(key)).tolist()


@pytest.mark.parametrize("seed", [0, 7])
def test_every_stream_is_the_seeds_key_folded_with_its_number(seed: int):
    streams = random_streams(seed)
    assert streams.seed == seed
    assert streams._fields == ("seed", *NUMBERS)
    for name, number in NUMBERS.items():
        expected = jax.random.fold_in(jax.random.key(seed), number)
        assert _bits(getattr(streams, name)) == _bits(expected), name


def test_streams_are_pairwise_different_also_from_those_of_calibration():
    streams = random_streams(3)
    keys = [*streams[1:], *streams.calibration()[1:]]
    for one, other in itertools.combinations(map(_bits, keys), 2):
        assert one != other


def test_calibration_draws_from_a_seed_of_its_own():
    calibration = random_streams(3).calibration()
    assert calibration.seed == 3 + 1_000_003
    assert _bits(calibration.steps) == _bits(random_streams(1_000_006).steps)


def test_the_head_draws_the_same_cells_every_time():
    one, again, other = (random_streams(seed).head() for seed in (3, 3, 4))
    expected = np.random.default_rng((3, 2)).permutation(50)
    np.testing.assert_array_equal(one.permutation(50), expected)
    np.testing.assert_array_equal(again.permutation(50), expected)
    assert (other.permutation(50) != expected).any()
