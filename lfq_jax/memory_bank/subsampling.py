"""The random choice of patches that a memory bank keeps."""

import numpy as np
from jaxtyping import Array, Float


def sample(
    features: Float[Array, "*b g"], count: int, *, seed: int
) -> Float[Array, "n g"]:
    """At most `count` of the features, drawn at random, in their original order."""
    flat = features.reshape(-1, features.shape[-1])
    chosen = np.random.default_rng(seed).permutation(len(flat))[:count]
    return flat[np.sort(chosen)]
