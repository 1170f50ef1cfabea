"""The cores of a processor, and independent pieces of work on all of them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax

T = TypeVar("T")


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(work: Callable[[T], None], items: Sequence[T]) -> None:
    """Call `work` with every item; on a processor, as many at a time as it has cores.

    Many small operations of one program use one core each, so several programs at a
    time finish sooner. The first item is worked on alone, because it compiles. An
    accelerator gets one item after another.

    Raises:
      Exception: the first error of `work`. Items that were not begun are left out.
    """
    # A thread does not know the default device of the thread that starts it.
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    is_cpu = (device.platform if device else jax.default_backend()) == "cpu"
    cores = usable_cores() if is_cpu else 1

    def in_thread(item: T) -> None:
        with jax.default_device(device):
            work(item)

    if items:
        work(items[0])
    if cores == 1:
        for item in items[1:]:
            work(item)
        return
    pool = ThreadPoolExecutor(cores)
    try:
        for done in [pool.submit(in_thread, item) for item in items[1:]]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
