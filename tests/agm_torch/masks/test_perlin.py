"""Perlin noise equals its definition, at any size."""

import numpy as np
import pytest

from agm_torch.masks.perlin import fractal_noise, perlin_noise


def brute_force_perlin(shape, cells, rng):
    """Perlin noise pixel by pixel, from the same draws as `perlin_noise`."""
    phases = rng.random(), rng.random()
    spots = [
        (np.arange(n) + 0.5) * c / n + phase
        for n, c, phase in zip(shape, cells, phases, strict=True)
    ]
    corners = tuple(int(np.floor(s[-1])) + 2 for s in spots)
    angle = rng.random(corners, dtype=np.float32) * 2 * np.pi
    noise = np.zeros(shape)
    for row, y in enumerate(spots[0]):
        for column, x in enumerate(spots[1]):
            for i in (int(y), int(y) + 1):
                for j in (int(x), int(x) + 1):
                    v, u = 1 - abs(y - i), 1 - abs(x - j)
                    weight = np.prod([6 * t**5 - 15 * t**4 + 10 * t**3 for t in (v, u)])
                    slope = np.cos(angle[i, j]) * (x - j) + np.sin(angle[i, j]) * (
                        y - i
                    )
                    noise[row, column] += weight * slope
    return noise * np.sqrt(2)


@pytest.mark.parametrize(("shape", "cells"), [((9, 13), (2.5, 4)), ((6, 6), (1, 1))])
def test_perlin_noise_equals_the_definition(shape, cells):
    fast = perlin_noise(shape, cells, np.random.default_rng(3))
    slow = brute_force_perlin(shape, cells, np.random.default_rng(3))
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32), (33, 257), (500, 47)])
def test_noise_has_any_size_and_stays_in_range(shape):
    rng = np.random.default_rng(0)
    assert np.abs(perlin_noise(shape, (5.3, 2.2), rng)).max() <= 1.001
    assert fractal_noise(shape, (4, 64), 3, rng).shape == shape
