"""Copies that may be donated while the original is used."""

import jax
import jax.numpy as jnp
import numpy as np

from lfq_jax.ops.copies import copied


def test_a_donated_copy_leaves_the_original():
    original = {"a": jnp.arange(5.0), "b": (jnp.ones((2, 3), jnp.int32), None)}
    copy = copied(original)
    for a, b in zip(*map(jax.tree.leaves, (original, copy)), strict=True):
        assert a.dtype == b.dtype
        assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()
    assert jax.tree.structure(copy) == jax.tree.structure(original)
    doubled = jax.jit(
        lambda tree: jax.tree.map(lambda x: 2 * x, tree), donate_argnums=0
    )
    np.testing.assert_array_equal(doubled(copy)["a"], 2 * np.arange(5.0))
    np.testing.assert_array_equal(original["a"], np.arange(5.0))
