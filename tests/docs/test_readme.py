"""README.md: the flax model that it shows trains."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.docs.pages import code_blocks


def test_the_readme_s_flax_model_trains():
    (block,) = [b for b in code_blocks("README.md") if "nnx.Module" in b]
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    model = namespace["Autoencoder"](nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (5, 7, 64))

    def loss(model: Any) -> Any:
        reconstruction, of_codes, statistics = model(x)
        return jnp.mean((reconstruction - x) ** 2) + of_codes, statistics

    gradients, statistics = nnx.grad(loss, has_aux=True)(model)
    kernel = np.asarray(gradients["encoder"]["kernel"])
    assert kernel.shape == (64, 16)
    assert np.isfinite(kernel).all() and (kernel != 0).any()
    assert 1 < float(statistics["perplexity"]) <= 35
