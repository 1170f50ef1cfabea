"""A check that the distribution over all codes fits in memory."""

import os

import jax

_ARRAYS = 3
"""Arrays of 2^bits floats in memory at once: distribution, logarithm, gradient."""


def distribution_bytes(bits: int) -> int:
    """Bytes needed for the exact batch entropy of 2^bits codes."""
    return _ARRAYS * 4 << bits


def available_bytes() -> int:
    """Memory of jax's device; of the machine if the device does not report it."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(statistics.get("bytes_limit", machine))


def check_distribution_fits(bits: int) -> None:
    """Refuse a number of codes whose distribution does not fit in memory.

    Raises:
        ValueError: with the needed and the available size.
    """
    needed, available = distribution_bytes(bits), available_bytes()
    if needed > available:
        raise ValueError(
            f"bits must be lower, or entropy_weight 0: the exact entropy of 2^{bits} "
            f"codes takes {needed / 2**30:,.1f} GiB of memory and "
            f"{available / 2**30:,.1f} GiB are available, got bits {bits}"
        )
