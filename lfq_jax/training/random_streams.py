"""Every random stream of a training, from its seed.

Other files only split the keys that they are given.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

_CALIBRATION_OFFSET = 1_000_003  # of the seed, for variations that training never drew


class RandomStreams(NamedTuple):
    """Independent streams of one training."""

    seed: int
    """Draws the patches of the memory bank."""
    weights: PRNGKeyArray
    """Initial weights."""
    steps: PRNGKeyArray
    """`fold_in(steps, step)` gives all randomness of one step."""
    copies: PRNGKeyArray
    """Variations of a single shot that stand in for the other shots."""
    training_anomalies: PRNGKeyArray
    training_good: PRNGKeyArray
    validation_anomalies: PRNGKeyArray
    validation_good: PRNGKeyArray
    normalizer: PRNGKeyArray
    """Variations that border baseline and orientation statistics are fitted to."""

    def head(self) -> np.random.Generator:
        """Draws the cells that the logistic head is fitted to."""
        return np.random.default_rng((self.seed, 2))

    def deformations(self) -> np.random.Generator:
        """Deforms the copies of a single shot."""
        return np.random.default_rng((self.seed, 3))

    def calibration(self) -> "RandomStreams":
        """Streams for scores that thresholds are derived from."""
        return random_streams(self.seed + _CALIBRATION_OFFSET)


def random_streams(seed: int) -> RandomStreams:
    """The streams of the training with this seed."""
    root = jax.random.key(seed)

    def stream(number: int) -> PRNGKeyArray:
        return jax.random.fold_in(root, number)

    return RandomStreams(
        seed=seed,
        weights=stream(2),
        steps=stream(3),
        copies=stream(1000),
        training_anomalies=stream(1001),
        training_good=stream(1002),
        validation_anomalies=stream(1003),
        validation_good=stream(1004),
        normalizer=stream(1005),
    )
