"""What the steps draw from: data on the device, or, where they do not fit, on the host.

What a step draws depends on its key alone. So the records of the next steps can be
named on the host, gathered there and sent while the device computes, and the steps make
of them what they would have made of the whole data, to the bit.
"""

import functools
import logging
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lfq_jax.training.data import TrainingData
from lfq_jax.training.sampling import GatheredRecords, RecordIndex
from lfq_jax.training.sharding import place
from lfq_jax.training.step import Trainer

log = logging.getLogger(__name__)


@runtime_checkable
class Feed(Protocol):
    """Gives every interval what its steps draw from."""

    def at(self, step: int) -> TrainingData | GatheredRecords:
        """For the `log_every` steps from `step` on."""
        ...

    def prepare(self, step: int) -> None:
        """Start to get ready what `at(step)` will give."""
        ...


class DeviceFeed:
    """All data lie on the device."""

    def __init__(self, trainer: Trainer, data: TrainingData) -> None:
        self._data = place(data, trainer.mesh)

    def at(self, step: int) -> TrainingData:
        """All of them, always."""
        del step
        return self._data

    def prepare(self, step: int) -> None:
        """Nothing to do."""


class HostFeed:
    """The data lie on the host; the records of one interval are sent at a time."""

    def __init__(self, trainer: Trainer, data: TrainingData, key: PRNGKeyArray) -> None:
        self._trainer, self._key = trainer, key
        self._data = jax.tree.map(np.asarray, data)
        self._ready: tuple[int, GatheredRecords] | None = None

    def at(self, step: int) -> GatheredRecords:
        """The records that these steps draw."""
        self.prepare(step)
        assert self._ready is not None
        return self._ready[1]

    def prepare(self, step: int) -> None:
        """Gather and send them."""
        if self._ready is not None and self._ready[0] == step:
            return
        named = _named(self._trainer, self._data_counts, self._key, step)
        is_anomalous, i = (np.asarray(each) for each in named)
        pairs = zip(self._data.anomalous, self._data.good, strict=True)
        gathered = [_gathered(a, g, is_anomalous, i) for a, g in pairs]
        samples = type(self._data.anomalous)(*gathered)
        chosen = GatheredRecords(samples, jnp.asarray(step, jnp.int32))
        self._ready = step, place(jax.tree.map(jnp.asarray, chosen), self._trainer.mesh)

    @property
    def _data_counts(self) -> tuple[int, int]:
        return len(self._data.anomalous.images), len(self._data.good.images)


def _gathered(
    anomalous: np.ndarray, good: np.ndarray, is_anomalous: np.ndarray, i: np.ndarray
) -> np.ndarray:
    found = np.empty((len(i), *good.shape[1:]), good.dtype)
    found[is_anomalous] = anomalous[i[is_anomalous]]
    found[~is_anomalous] = good[i[~is_anomalous]]
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _named(
    trainer: Trainer, counts: tuple[int, int], key: PRNGKeyArray, first: Array | int
) -> RecordIndex:
    """The records of all steps of an interval, in their order: [log_every * b]."""
    steps = first + jnp.arange(trainer.config.log_every)
    found = jax.vmap(lambda step: trainer.named(counts, key, step))(steps)
    return jax.tree.map(jnp.ravel, found)
