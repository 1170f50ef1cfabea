"""The arrays of a detector, and what one pass over a batch gives."""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from lfq_jax.memory_bank.bank import MemoryBank
from lfq_jax.memory_bank.logistic_head import LogisticHead
from lfq_jax.model.fusion import anomaly_probability

Tree = Any  # a nested dict of arrays


class Variables(NamedTuple):
    """Every array of a detector."""

    params: Tree
    """Trained weights: `reconstructive`, `quantizer` and `discriminative`."""
    statistics: Tree
    """Running means and variances of the batch norms."""
    quantizer: Tree
    """The quantizer's own state."""
    memory_bank: MemoryBank | None = None
    """What images are compared with. Built before training, and never changed."""
    logistic_head: LogisticHead | None = None
    """The regression on the distances. Fitted before training."""
    score_head: LogisticHead | None = None
    """What takes its place in the image score, where that has a head of its own."""


class Outputs(NamedTuple):
    """What one pass over a batch gives."""

    reconstruction: Float[Array, "b h w 3"]
    logits: Float[Array, "b h w 2"]
    """In training the discriminator's. In scoring mixed with the logistic head's by
    `head_weight`, plus the weighted orientation deviation."""
    codes: Array
    quantizer_loss: Float[Array, ""]
    quantizer_statistics: dict[str, Array]
    reconstructed_features: Float[Array, "b gh gw f"]
    """The backbone's features as the decoder reconstructs them; f = 0 without one."""
    score_logits: Float[Array, "b h w 2"]
    """Logits that the image score is computed from: in scoring mixed by
    `score_head_weight`, without the orientation deviation."""

    @property
    def probability(self) -> Float[Array, "b h w"]:
        """M_hat of eq. 4: probability that a pixel is anomalous, in [0, 1]."""
        return anomaly_probability(self.logits)

    @property
    def score_probability(self) -> Float[Array, "b h w"]:
        """Probability map that the image score is computed from, in [0, 1]."""
        return anomaly_probability(self.score_logits)


class AnomalyMaps(NamedTuple):
    """What a model computes from images to score them, before any smoothing."""

    maps: Float[Array, "b h w"]
    """How anomalous a pixel is, in [0, 1]. LFQUIAD's are probabilities."""
    score_maps: Float[Array, "b h w"]
    """What the image score is computed from, in [0, 1]."""
    reconstructions: Float[Array, "b h w 3"] | None = None
    """Output of the decoder. None for a model without decoder."""
    odds_factors: Float[Array, "b gh gw"] | None = None
    """By how much each cell would multiply the odds of the image score. Their mean over
    the largest does. None: the score follows from the map alone."""


def parameter_count(params: Tree) -> int:
    """Number of trained scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
