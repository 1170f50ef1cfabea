"""Fills a shard folder: record i depends on (seed, i) alone, so work can stop anywhere.

The unit of the file is the shard, the unit of work the record. A stop finishes the
record at hand and writes what there is; a kill loses at most a minute.
"""

import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agm_torch.cache import locked
from agm_torch.config import Engine
from agm_torch.job import Job
from agm_torch.made_with import (
    forget_unless_begun,
    keep_to,
    library_versions,
    made_with,
    recorded,
)
from agm_torch.records import OpenShard, RecordMaker
from datasets.shards import MANIFEST, ShardWriter, verify_shards


class Interrupted(Exception):
    """Stopped on request; what was made is on disk and the next run goes on there."""


def generate(
    job: Job,
    cache: Path,
    *,
    workers: int = 1,
    engine: Engine = "local",
    ray_address: str | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
    on_wait: Callable[[str], None] = lambda owner: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """The finished folder of a job: found in the cache, resumed, or made.

    Args:
      workers: processes that share the work, shard by shard. The bytes do not depend
        on their number.
      engine: `local`, processes of this machine, or `ray`, actors of a Ray cluster.
      ray_address: of a running cluster. Default: $RAY_ADDRESS, else one is started.
      on_progress: told how many records there are, whenever that changes.
      on_wait: told who is making the same folder already.

    Raises:
      Interrupted: `should_stop` said so. The next call goes on where this one ended.
      OSError: the disk is full or read-only. What was written before stays valid.
      ValueError: the cache has the folder, and it is damaged: names the file. Or it was
        begun on another device, or with other libraries or models.
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
        fill = _filler(engine, workers, ray_address)
        forget_unless_begun(writer.partial)
        try:
            _fill_all(job, writer, fill, on_progress, should_stop)
        except BaseException:
            forget_unless_begun(writer.partial)
            with contextlib.suppress(OSError):  # it holds something worth keeping
                writer.partial.rmdir()
            raise
        return writer.finish(job.normals, _manifest(job, writer))


def _filler(engine: Engine, workers: int, ray_address: str | None) -> Callable:
    """What makes the missing shards: `fill_shards`, or the same by several workers."""
    if engine == "ray":
        from agm_torch.ray_engine import fill_with_ray

        return partial(fill_with_ray, workers=workers, address=ray_address)
    if workers > 1:
        from agm_torch.workers import fill_in_parallel

        return partial(fill_in_parallel, workers=workers)
    return fill_shards


def _fill_all(
    job: Job,
    writer: ShardWriter,
    fill: Callable,
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

    fill(job, writer, missing, on_records, should_stop)


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
      ValueError: the folder was begun with other libraries or models, or elsewhere.
    """
    maker = RecordMaker(job)
    keep_to(writer.partial, made_with(job))
    for number in shards:
        shard = OpenShard(writer, number)
        while shard.missing:
            if should_stop():
                shard.write()
                raise Interrupted
            made = maker.make(shard.missing[: maker.batch])
            shard.add(made)
            on_records(len(made))


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
    circumstances = recorded(writer.partial)
    return {
        **job.identity,
        "key": job.key,
        "options": job.config.to_json(),
        "versions": {"python": platform.python_version(), **library_versions(job)},
        **({"made_with": circumstances} if circumstances else {}),
        "tally": {name: dict(sorted(counts.items())) for name, counts in tally.items()},
    }
