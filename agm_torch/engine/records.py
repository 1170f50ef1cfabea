"""Makes records by their numbers, and collects them in shards."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from agm_torch.engine.job import Job
from agm_torch.generator import Anomaly, AnomalyGenerator
from datasets.shards import Records, ShardWriter

FLUSH_SECONDS = 60.0
Made = tuple[np.ndarray, np.ndarray, int, dict[str, Any]]
"""Image, mask, number of the normal image, provenance."""


class RecordMaker:
    """Makes the records of one job. Models, if any, are loaded once."""

    def __init__(self, job: Job) -> None:
        self._seed = job.seed
        self._generator = AnomalyGenerator(job.config, kind=job.kind)
        self._scenes = self._generator.scenes(list(job.normals), category=job.category)

    @property
    def batch(self) -> int:
        """Best number of records to make together."""
        return self._generator.batch

    def make(self, numbers: Sequence[int]) -> list[Made]:
        """The records of these numbers, each from (seed, number) alone.

        The normal images take turns.
        """
        sources = [number % len(self._scenes) for number in numbers]
        rngs = [np.random.default_rng((self._seed, number)) for number in numbers]
        drawn: list[Anomaly] = self._generator.draw(
            [self._scenes[i] for i in sources], rngs
        )
        return [
            (anomaly.image, anomaly.mask, source, anomaly.provenance)
            for anomaly, source in zip(drawn, sources, strict=True)
        ]


class OpenShard:
    """A shard that is filled in order. Its records are written once a minute."""

    def __init__(self, writer: ShardWriter, number: int) -> None:
        self._writer, self._number = writer, number
        self._numbers = writer.record_numbers(number)
        begun = writer.begun(number)
        self._made = _unpacked(begun) if begun else []
        self._flushed = time.monotonic()

    @property
    def missing(self) -> range:
        """Numbers of the records that are not made yet."""
        return self._numbers[len(self._made) :]

    def add(self, made: Sequence[Made]) -> None:
        """Append the next records. Writes a full shard, and any shard once a minute."""
        self._made += made
        if not self.missing or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the records made so far."""
        if self._made:
            self._writer.write(self._number, _packed(self._made))
        self._flushed = time.monotonic()


def _packed(made: Sequence[Made]) -> Records:
    images, masks, sources, provenance = zip(*made, strict=True)
    return Records(
        np.stack(images), np.stack(masks), np.array(sources, np.int32), list(provenance)
    )


def _unpacked(records: Records) -> list[Made]:
    sources = map(int, records.sources)
    return list(
        zip(records.images, records.masks, sources, records.provenance, strict=True)
    )
