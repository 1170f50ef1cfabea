"""Whether the distribution over all codes fits in memory."""

import os

import jax

_ARRAYS = 3
"""Arrays of 2^bits floats at once: the distribution, its logarithm, the gradient."""


def distribution_bytes(bits: int) -> int:
    """Bytes that the exact batch entropy of 2^bits codes takes."""
    return _ARRAYS * 4 << bits


def available_bytes() -> int:
    """Memory of the device that jax computes on; of the machine, if it does not say."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(statistics.get("bytes_limit", machine))


def check_distribution_fits(bits: int) -> None:
    """Refuse a number of codes whose distribution no memory here holds.

    Raises:
        ValueError: naming both sizes.
    """
    needed, available = distribution_bytes(bits), available_bytes()
    if needed > available:
        raise ValueError(
            f"bits must be lower, or entropy_weight 0: the exact entropy of 2^{bits} "
            f"codes takes {needed / 2**30:,.1f} GiB and there are "
            f"{available / 2**30:,.1f}, got bits {bits}"
        )
