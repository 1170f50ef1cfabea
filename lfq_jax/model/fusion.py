"""How the discriminator, the logistic head and the orientation become one map."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.filter_bank import maxima_along
from lfq_jax.memory_bank.orientation import CELL_PX


def fuse(
    logits: Float[Array, "b h w 2"],
    head: Float[Array, "b gh gw"] | None,
    score_head: Float[Array, "b gh gw"] | None,
    orientation: Float[Array, "b gh gw o"],
    config: MemoryBankConfig,
    *,
    cell_px: int,
) -> tuple[Float[Array, "b h w 2"], Float[Array, "b h w 2"]]:
    """The logits of the map, and those that the image score is computed from.

    Args:
      logits: the discriminator's.
      head: log-odds of the logistic head, where there is one.
      score_head: the same, of the head that the image score is computed from.
      orientation: orientation deviation of every cell; o = 0 where there is none.
      cell_px: side of a cell.
    """
    score_logits = logits
    if score_head is not None:
        score_logits = mix_log_odds(logits, score_head, config.score_head_weight)
    if head is not None:
        logits = mix_log_odds(logits, head, config.head_weight)
    if orientation.shape[-1]:
        unexplained = unexplained_share(anomaly_probability(logits), cell_px)[..., None]
        change = config.orientation_weight * unexplained * orientation
        logits = add_log_odds(logits, change)
    return logits, score_logits


def anomaly_probability(logits: Float[Array, "*b 2"]) -> Float[Array, "*b"]:
    """Probability of the second class, `anomalous`."""
    return jax.nn.sigmoid(logits[..., 1] - logits[..., 0])


def mix_log_odds(
    logits: Float[Array, "b h w 2"], head: Float[Array, "b gh gw"], weight: float
) -> Float[Array, "b h w 2"]:
    """Weighted mean of two log-odds; `weight` is the logistic head's."""
    discriminator = logits[..., 1] - logits[..., 0]
    head = repeat_cells(head, discriminator.shape[1:])
    mixed = (1 - weight) * discriminator + weight * head
    return jnp.stack([-0.5 * mixed, 0.5 * mixed], axis=-1)


def add_log_odds(
    logits: Float[Array, "b h w 2"], change: Float[Array, "b gh gw 1"]
) -> Float[Array, "b h w 2"]:
    """The logits with `change` added to the log-odds of an anomaly."""
    half = 0.5 * repeat_cells(change[..., 0], logits.shape[1:3])
    return logits + jnp.stack([-half, half], axis=-1)


def repeat_cells(
    cells: Float[Array, "b gh gw"], sides: tuple[int, ...]
) -> Float[Array, "b h w"]:
    """An image of `sides` pixels, in which every pixel has its cell's value."""
    rows, columns = (sides[i] // cells.shape[1 + i] for i in (0, 1))
    return jnp.repeat(jnp.repeat(cells, rows, axis=1), columns, axis=2)


def unexplained_share(
    probability: Float[Array, "b h w"], cell_px: int
) -> Float[Array, "b gh gw"]:
    """1 less the largest probability of an anomaly within `CELL_PX` of every cell.

    A detected defect needs no more evidence, and it disturbs the orientation of the
    grain around it. Without this factor, good pixels next to a defect would rank above
    other, fainter defects.
    """
    b, h, w = probability.shape
    shape = (b, h // cell_px, cell_px, w // cell_px, cell_px)
    largest = probability.reshape(shape).max((2, 4))
    reach = CELL_PX // cell_px
    for axis in (1, 2):
        largest = maxima_along(
            largest, axis, window=2 * reach + 1, step=1, before=reach
        )
    return 1.0 - largest
