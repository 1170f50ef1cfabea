"""Fills a shard folder: record i depends on (seed, i) alone, so work can stop anywhere.

The unit of the file is the shard, the unit of work the record. A stop finishes the
record at hand and writes what there is; a kill loses at most `FLUSH_SECONDS`.
"""

import importlib.metadata
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from agm_torch.cache import locked
from agm_torch.config import MIN_IMAGE_PX, GeneratorConfig, Kind, job_identity
from agm_torch.generator import Anomaly, AnomalyGenerator
from agm_torch.scene import Scene
from datasets.shards import (
    MANIFEST,
    SCHEMA_VERSION,
    Records,
    ShardWriter,
    content_key,
    image_sha256,
    to_square,
    verify_shards,
)

FLUSH_SECONDS = 60.0
_VERSIONS = ("numpy", "pillow", "scipy")
_TORCH_VERSIONS = ("torch", "diffusers", "transformers")


class Interrupted(Exception):
    """Stopped on request; what was made is on disk and the next run goes on there."""


@dataclass(frozen=True)
class Job:
    """What a shard folder is to hold."""

    images: tuple[UInt8[np.ndarray, "h w 3"], ...]
    """The normal images, of any size."""
    category: str
    kind: Kind
    count: int
    seed: int
    image_px: int
    config: GeneratorConfig

    def __post_init__(self) -> None:
        if not self.category.strip(" .") or Path(self.category).name != self.category:
            raise ValueError(
                "category must be the part's name, without slashes, got "
                f"{self.category!r}"
            )
        if not self.images:
            raise ValueError("images must name at least one normal image, got none")
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if not MIN_IMAGE_PX <= self.image_px <= 4096:
            raise ValueError(
                f"image_px must lie in [{MIN_IMAGE_PX}, 4096], got {self.image_px}"
            )
        if self.kind not in ("texture", "object"):
            raise ValueError(f"kind must be texture or object, got {self.kind!r}")
        for number, image in enumerate(self.images):
            if min(image.shape[:2]) < MIN_IMAGE_PX:
                raise ValueError(
                    f"images[{number}] must be at least {MIN_IMAGE_PX} pixels a side, "
                    f"got {image.shape[1]} x {image.shape[0]}"
                )

    @cached_property
    def normals(self) -> UInt8[np.ndarray, "k h w 3"]:
        """The normal images at the resolution of the shards."""
        return np.stack([to_square(image, self.image_px) for image in self.images])

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that decides the bytes."""
        return job_identity(
            self.config,
            category=self.category,
            kind=self.kind,
            count=self.count,
            seed=self.seed,
            image_px=self.image_px,
            images=[image_sha256(normal) for normal in self.normals],
        )

    @property
    def key(self) -> str:
        """The name of the folder in the cache."""
        return content_key({"schema_version": SCHEMA_VERSION, **self.identity})


def generate(
    job: Job,
    cache: Path,
    *,
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda done: None,
    on_wait: Callable[[str], None] = lambda owner: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """The finished folder of a job: found in the cache, resumed, or made.

    Args:
      workers: processes that share the work, shard by shard. The bytes do not depend
        on their number.
      on_progress: told how many records there are, whenever that changes.
      on_wait: told who is making the same folder already.

    Raises:
      Interrupted: `should_stop` said so. The next call goes on where this one ended.
      OSError: the disk is full or read-only. What was written before stays valid.
      ValueError: the cache has the folder, and it is damaged. Names the file.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    folder = cache / job.key
    if (folder / MANIFEST).is_file():
        verify_shards(folder)
        on_progress(job.count)
        return folder
    with locked(folder, on_wait=on_wait, should_stop=should_stop) as is_ours:
        if not is_ours:
            raise Interrupted
        if (folder / MANIFEST).is_file():  # somebody else has just made it
            on_progress(job.count)
            return folder
        writer = ShardWriter(
            folder, count=job.count, records_per_shard=job.config.records_per_shard
        )
        _fill_all(job, writer, workers, on_progress, should_stop)
        return writer.finish(job.normals, _manifest(job, writer))


def _fill_all(
    job: Job,
    writer: ShardWriter,
    workers: int,
    on_progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    begun = [_done_in(writer, shard) for shard in range(writer.shard_count)]
    missing = [
        shard
        for shard, done in enumerate(begun)
        if done < len(writer.record_numbers(shard))
    ]
    on_progress(sum(begun))
    if not missing:
        return
    done = sum(begun)

    def on_records(records: int) -> None:
        nonlocal done
        done += records
        on_progress(done)

    if workers == 1 or len(missing) == 1:
        fill_shards(job, writer, missing, on_records, should_stop)
    else:
        from agm_torch.workers import fill_in_parallel

        fill_in_parallel(job, writer, missing, workers, on_records, should_stop)


def fill_shards(
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    on_records: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    """Make the missing records of some shards, in this process.

    Raises:
      Interrupted: `should_stop` said so; the records so far are written.
    """
    generator = AnomalyGenerator(job.config, kind=job.kind)
    scenes = generator.scenes(list(job.normals), category=job.category)
    for shard in shards:
        numbers = writer.record_numbers(shard)
        begun = writer.begun(shard)
        made = _unpacked(begun) if begun else []
        flushed = time.monotonic()
        while len(made) < len(numbers):
            if should_stop():
                if made:
                    writer.write(shard, _packed(made))
                raise Interrupted
            batch = numbers[len(made) : len(made) + generator.batch]
            made += _made(generator, scenes, job.seed, batch)
            on_records(len(batch))
            if time.monotonic() - flushed > FLUSH_SECONDS and len(made) < len(numbers):
                writer.write(shard, _packed(made))
                flushed = time.monotonic()
        writer.write(shard, _packed(made))


_Made = tuple[np.ndarray, np.ndarray, int, dict[str, Any]]


def _made(
    generator: AnomalyGenerator, scenes: Sequence[Scene], seed: int, numbers: range
) -> list[_Made]:
    """Records by their numbers: the normal images take turns."""
    sources = [number % len(scenes) for number in numbers]
    rngs = [np.random.default_rng((seed, number)) for number in numbers]
    drawn: list[Anomaly] = generator.draw([scenes[i] for i in sources], rngs)
    return [
        (anomaly.image, anomaly.mask, source, anomaly.provenance)
        for anomaly, source in zip(drawn, sources, strict=True)
    ]


def _packed(made: Sequence[_Made]) -> Records:
    images, masks, sources, provenance = zip(*made, strict=True)
    return Records(
        np.stack(images), np.stack(masks), np.array(sources, np.int32), list(provenance)
    )


def _unpacked(records: Records) -> list[_Made]:
    sources = map(int, records.sources)
    return list(
        zip(records.images, records.masks, sources, records.provenance, strict=True)
    )


def _done_in(writer: ShardWriter, shard: int) -> int:
    begun = writer.begun(shard)
    return len(begun.sources) if begun else 0


def _manifest(job: Job, writer: ShardWriter) -> dict[str, Any]:
    """Everything worth knowing of the folder, and nothing that differs between runs."""
    tally = {name: Counter() for name in ("rejects", "shape", "content", "region")}
    for shard in range(writer.shard_count):
        records = writer.begun(shard)
        for entry in records.provenance if records else []:
            tally["rejects"].update(entry["rejects"])
            for name in ("shape", "content", "region"):
                tally[name][entry[name]] += 1
    names = _VERSIONS
    if job.config.generator == "diffusion" or "device" in job.identity["config"]:
        names += _TORCH_VERSIONS
    versions = {name: importlib.metadata.version(name) for name in names}
    return {
        **job.identity,
        "key": job.key,
        "options": job.config.to_json(),
        "versions": {"python": platform.python_version(), **versions},
        "tally": {name: dict(sorted(counts.items())) for name, counts in tally.items()},
    }
