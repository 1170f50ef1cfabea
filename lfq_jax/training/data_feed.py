"""Feeds the steps: from the device, or from the host where the data is too large.

The records that a step draws depend on its key alone. So the host can gather the
records of the next steps and send them while the device computes. The result is the
same, bit for bit, as with all data on the device.
"""

import functools
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lfq_jax.training.data import TrainingData
from lfq_jax.training.sampling import GatheredRecords, RecordIndex
from lfq_jax.training.sharding import place
from lfq_jax.training.step import Trainer


@runtime_checkable
class Feed(Protocol):
    """Supplies every interval of steps with its records."""

    def records(self, step: int) -> TrainingData | GatheredRecords:
        """What the `log_every` steps from `step` on draw from."""
        ...

    def prepare(self, step: int) -> None:
        """Start to gather what `records(step)` returns."""
        ...


class DeviceFeed:
    """Feeds from data that is all on the device."""

    def __init__(self, trainer: Trainer, data: TrainingData) -> None:
        self._data = place(data, trainer.mesh)

    def records(self, step: int) -> TrainingData:
        """All data, at every step."""
        del step
        return self._data

    def prepare(self, step: int) -> None:
        """Does nothing: all data is on the device already."""


class HostFeed:
    """Feeds from the host: sends the records of one interval at a time."""

    def __init__(self, trainer: Trainer, data: TrainingData, key: PRNGKeyArray) -> None:
        self._trainer, self._key = trainer, key
        self._data = jax.tree.map(np.asarray, data)
        self._ready: tuple[int, GatheredRecords] | None = None

    def records(self, step: int) -> GatheredRecords:
        """The records that the steps from `step` on draw."""
        self.prepare(step)
        assert self._ready is not None
        return self._ready[1]

    def prepare(self, step: int) -> None:
        """Gather the records and start to send them."""
        if self._ready is not None and self._ready[0] == step:
            return
        counts = len(self._data.anomalous.images), len(self._data.good.images)
        indices = _interval_indices(self._trainer, counts, self._key, step)
        is_anomalous, i = (np.asarray(each) for each in indices)
        samples = jax.tree.map(
            lambda anomalous, good: _gather(anomalous, good, is_anomalous, i),
            self._data.anomalous,
            self._data.good,
        )
        records = GatheredRecords(samples, jnp.asarray(step, jnp.int32))
        placed = place(jax.tree.map(jnp.asarray, records), self._trainer.mesh)
        self._ready = step, placed


def _gather(
    anomalous: np.ndarray, good: np.ndarray, is_anomalous: np.ndarray, i: np.ndarray
) -> np.ndarray:
    gathered = np.empty((len(i), *good.shape[1:]), good.dtype)
    gathered[is_anomalous] = anomalous[i[is_anomalous]]
    gathered[~is_anomalous] = good[i[~is_anomalous]]
    return gathered


@functools.partial(jax.jit, static_argnums=(0, 1))
def _interval_indices(
    trainer: Trainer, counts: tuple[int, int], key: PRNGKeyArray, first: Array | int
) -> RecordIndex:
    """The records of all steps of an interval, in order: [log_every * b]."""
    steps = first + jnp.arange(trainer.config.log_every)
    indices = jax.vmap(lambda step: trainer.record_indices(counts, key, step))(steps)
    return jax.tree.map(jnp.ravel, indices)
