"""TODO docstring of lfq_jax.model.lfquiad.fusion."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lfq_jax.memory_bank.filter_bank import maxima_along
from lfq_jax.memory_bank.orientation import CELL_PX


def unexplained_share(
    probability: Float[Array, "b h w"], cell_px: int
) -> Float[Array, "b gh gw"]:
    """How much the grain about every cell of `cell_px` pixels says: 1 less the largest
    probability of an anomaly within `CELL_PX` of it.

    What was found needs no more evidence, and it disturbs the grain all about it: good
    pixels beside it would be ranked above other, fainter defects.
    """
    b, h, w = probability.shape
    shape = (b, h // cell_px, cell_px, w // cell_px, cell_px)
    most = probability.reshape(shape).max((2, 4))
    reach = CELL_PX // cell_px
    for axis in (1, 2):
        most = maxima_along(most, axis, window=2 * reach + 1, step=1, before=reach)
    return 1.0 - most


def anomaly_probability(logits: Float[Array, "*b 2"]) -> Float[Array, "*b"]:
    return jax.nn.sigmoid(logits[..., 1] - logits[..., 0])


def mix_log_odds(
    logits: Float[Array, "b h w 2"], read: Float[Array, "b gh gw"], share: float
) -> Float[Array, "b h w 2"]:
    """The mean of the discriminator's log-odds and the reader's, who has `share`."""
    of_network = logits[..., 1] - logits[..., 0]
    of_reader = repeat_cells(read, of_network.shape[1:])
    both = (1 - share) * of_network + share * of_reader
    return jnp.stack([-0.5 * both, 0.5 * both], axis=-1)


def add_log_odds(
    logits: Float[Array, "b h w 2"], by: Float[Array, "b gh gw 1"]
) -> Float[Array, "b h w 2"]:
    """With `by` added to the log-odds of an anomaly."""
    more = 0.5 * repeat_cells(by[..., 0], logits.shape[1:3])
    return logits + jnp.stack([-more, more], axis=-1)


def repeat_cells(
    cells: Float[Array, "b gh gw"], sides: tuple[int, ...]
) -> Float[Array, "b h w"]:
    """Every pixel of an image of `sides` has what its cell has."""
    rows, columns = (sides[i] // cells.shape[1 + i] for i in (0, 1))
    return jnp.repeat(jnp.repeat(cells, rows, axis=1), columns, axis=2)
