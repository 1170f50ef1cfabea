"""Which codes a set of images uses, how evenly, and what its single bits do."""

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from lfq_jax.quantizers import Quantizer


class CodeUse(NamedTuple):
    """The codes of some images."""

    figures: dict[str, float]
    """`used_codes`, `perplexity` (exp of the entropy of their frequencies); for codes
    of bits `dead_bits`, `bit_imbalance` and `bit_correlation` as
    `lfq_jax.quantizers.statistics` has them."""
    counts: np.ndarray
    """i64 [used]: how often each used code occurs, the most frequent first."""
    maps: np.ndarray
    """i64 [n gh gw]: rank of each position's code among the used ones, 0 the most
    frequent."""
    bit_means: np.ndarray | None
    """f32 [k]: mean sign of each bit; None where codes are not made of bits."""
    bit_correlations: np.ndarray | None
    """f32 [k k]."""


def code_use(quantizer: "Quantizer", codes: np.ndarray) -> CodeUse | None:
    """The use of codes [n gh gw ...]; None of a quantizer that has none."""
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
        means, correlations, of_bits = _of_bits(codes, indices.ndim)
        figures |= of_bits
    return CodeUse(
        figures=figures,
        counts=counts[order],
        maps=rank[inverse].reshape(indices.shape),
        bit_means=means,
        bit_correlations=correlations,
    )


def _of_bits(
    codes: np.ndarray, axes: int
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Means and correlations of the bits; the stages of residual codes one by one."""
    from lfq_jax.quantizers.statistics import bit_moments

    bits = int(np.prod(codes.shape[axes:]))
    flat = jnp.asarray(codes.reshape(-1, bits))
    means, correlations = (np.asarray(each) for each in bit_moments(flat, None))
    between = np.abs(correlations * (1 - np.eye(bits)))
    figures = {
        "dead_bits": float(np.sum(np.abs(means) > 1 - 1e-6)),
        "bit_imbalance": float(np.abs(means).mean()),
        "bit_correlation": float(between.max()),
    }
    return means, correlations, figures
