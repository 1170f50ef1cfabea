"""TODO docstring of lfq_jax.model.lfquiad.variables."""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from lfq_jax.memory_bank.bank import MemoryBank
from lfq_jax.memory_bank.logistic_head import LogisticHead
from lfq_jax.model.fusion import anomaly_probability

Tree = Any  # a nested dict of arrays


class Variables(NamedTuple):
    """All that training changes. Each is a nested dict of arrays."""

    params: Tree
    """`reconstructive`, `quantizer` and `discriminative` weights."""
    statistics: Tree
    """Running means and variances of the batch norms."""
    quantizer: Tree
    """The quantizer's own state."""
    reference: MemoryBank | None = None
    """What new images are compared with; training does not change it."""
    reader: LogisticHead | None = None
    """A second opinion on the distances, fitted before training."""


class Outputs(NamedTuple):
    """What one pass over a batch gives."""

    reconstruction: Float[Array, "b h w 3"]
    logits: Float[Array, "b h w 2"]
    """The discriminator's; in scoring with the share of the regression, and what the
    grain of a texture adds."""
    codes: Array
    quantizer_loss: Float[Array, ""]
    quantizer_statistics: dict[str, Array]
    features: Float[Array, "b gh gw f"]
    """The pretrained encoder's features as the decoder gives them back; f = 0 without
    one."""
    of_score: Float[Array, "b h w 2"]
    """Logits that the image score is read off: as `logits`, but in scoring with the
    regression's own share in the score, and without the grain."""

    @property
    def probability(self) -> Float[Array, "b h w"]:
        """M_hat of eq. 4: probability that a pixel is anomalous, in [0, 1]."""
        return anomaly_probability(self.logits)

    @property
    def score_probability(self) -> Float[Array, "b h w"]:
        """The same of what the image score is read off."""
        return anomaly_probability(self.of_score)


def parameter_count(params: Tree) -> int:
    """Number of trained scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
