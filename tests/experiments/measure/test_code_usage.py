"""Statistics of the used codes, computed by hand."""

import math

import jax
import numpy as np
import pytest

from experiments.measure.code_usage import code_use
from lfq_jax.quantizers import make


def test_every_code_is_counted_and_the_maps_contain_ranks():
    lfq = make("lfq", bits=3)
    codes = np.zeros((1, 2, 4, 3), bool)
    codes[0, 0, :, 2] = True  # index 1 four times, index 0 three times, index 7 once
    codes[0, 1, 3] = True
    use = code_use(lfq, codes)
    assert use is not None
    assert use.counts.tolist() == [4, 3, 1]
    assert use.maps.tolist() == [[[0, 0, 0, 0], [1, 1, 1, 2]]]
    share = np.array([4, 3, 1]) / 8
    perplexity = math.exp(-(share * np.log(share)).sum())
    assert use.figures["perplexity"] == pytest.approx(perplexity)
    assert use.figures["used_codes"] == 3
    assert use.bit_means is not None
    np.testing.assert_allclose(use.bit_means, [-0.75, -0.75, 0.25])
    assert use.figures["bit_correlation"] == pytest.approx(1.0)
    assert use.figures["dead_bits"] == 0


def test_codes_without_bits_are_counted_and_no_codes_give_none():
    fsq = make("fsq", levels=(3, 3))
    z = jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
    codes = np.asarray(fsq.quantize({}, (), z, training=False).codes)
    use = code_use(fsq, codes)
    assert use is not None and use.bit_means is None
    assert use.counts.sum() == 32
    assert code_use(make("none", dim=2), np.zeros((2, 4, 4, 0), bool)) is None
