"""Which codes a set of images uses, how evenly, and statistics of the single bits."""

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from lfq_jax.quantizers import Quantizer


class CodeUse(NamedTuple):
    """How a set of images uses the codes."""

    figures: dict[str, float]
    """`used_codes` and `perplexity` (exp of the entropy of the codes' frequencies).
    Codes made of bits also have `dead_bits`, `bit_imbalance` and `bit_correlation`, as
    defined in `lfq_jax.quantizers.statistics`."""
    counts: np.ndarray
    """i64 [used]: number of occurrences of each used code, most frequent code first."""
    maps: np.ndarray
    """i64 [n gh gw]: rank of each position's code among the used codes. 0 is the most
    frequent code."""
    bit_means: np.ndarray | None
    """f32 [k]: mean sign of each bit; None if codes are not made of bits."""
    bit_correlations: np.ndarray | None
    """f32 [k k]: correlations of the bits; None if codes are not made of bits."""


def code_use(quantizer: "Quantizer", codes: np.ndarray) -> CodeUse | None:
    """How images use the codes [n gh gw ...]; None if the quantizer has no codes."""
    if not quantizer.code_count:
        return None
    indices = np.asarray(quantizer.codes_to_indices(jnp.asarray(codes)))
    _, inverse, counts = np.unique(indices, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    share = counts / counts.sum()
    figures = {
        "used_codes": float(len(counts)),
        "perplexity": float(np.exp(-np.sum(share * np.log(share)))),
    }
    means = correlations = None
    if codes.dtype == bool:
        means, correlations, bit_figures = _bit_statistics(codes, indices.ndim)
        figures |= bit_figures
    return CodeUse(
        figures=figures,
        counts=counts[order],
        maps=rank[inverse].reshape(indices.shape),
        bit_means=means,
        bit_correlations=correlations,
    )


def _bit_statistics(
    codes: np.ndarray, axes: int
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Means, correlations and figures of the bits.

    Every stage of a residual code has bits of its own.

    Args:
      axes: number of leading axes, which are positions.
    """
    from lfq_jax.quantizers.statistics import bit_moments

    bits = int(np.prod(codes.shape[axes:]))
    flat = jnp.asarray(codes.reshape(-1, bits))
    means, correlations = (np.asarray(x) for x in bit_moments(flat, None))
    between = np.abs(correlations * (1 - np.eye(bits)))
    figures = {
        "dead_bits": float(np.sum(np.abs(means) > 1 - 1e-6)),
        "bit_imbalance": float(np.abs(means).mean()),
        "bit_correlation": float(between.max()),
    }
    return means, correlations, figures
