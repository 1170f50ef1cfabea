"""Independent pieces of work on all cores."""

import threading

import jax
import jax.numpy as jnp
import pytest

from lfq_jax.ops.cores import on_all_cores


def test_every_item_is_worked_on_once_and_the_first_one_alone():
    seen, at_the_first = [], []

    def work(item: int) -> None:
        if not item:
            at_the_first.append(threading.current_thread())
        seen.append(item)

    on_all_cores(work, range(20))
    assert sorted(seen) == list(range(20)) and seen[0] == 0
    assert at_the_first == [threading.current_thread()]
    on_all_cores(work, [])
    assert len(seen) == 20


def test_the_first_error_is_raised():
    def work(item: int) -> None:
        if item == 3:
            raise ValueError("item 3")

    with pytest.raises(ValueError, match="item 3"):
        on_all_cores(work, range(8))


def test_threads_use_the_default_device_of_the_caller():
    device = jax.devices()[3]
    found = []
    with jax.default_device(device):
        on_all_cores(lambda _: found.append(jnp.zeros(1).device), range(4))
    assert found == [device] * 4
