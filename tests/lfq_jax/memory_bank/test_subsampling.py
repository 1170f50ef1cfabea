"""Coresets, compared with plain numpy."""

import jax.numpy as jnp
import numpy as np

from lfq_jax.memory_bank.subsampling import coreset, farthest_first


def test_every_point_of_the_coreset_is_the_farthest_from_those_before():
    points = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    found = np.asarray(farthest_first(jnp.asarray(points), jnp.asarray(7), count=9))
    chosen = [7]
    for _ in range(8):
        gaps = np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(1)
        chosen.append(int(gaps.argmax()))
    assert found.tolist() == chosen


def test_a_coreset_contains_rare_points_that_a_random_choice_would_miss():
    rng = np.random.default_rng(0)
    frequent = rng.normal(0, 0.01, (990, 200))
    rare = rng.normal(0, 1, (10, 200)) * 5
    points = jnp.asarray(np.concatenate([frequent, rare]), jnp.float32)
    kept = coreset(points, 0.02, 0)
    assert kept.shape == (20, 200)
    lengths = np.linalg.norm(np.asarray(kept), axis=-1)
    assert (lengths > 10).sum() == 10
