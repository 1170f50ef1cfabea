"""Makes the shard folder of a job: found in the cache, resumed, or made.

Record i depends on (seed, i) alone, so work can stop anywhere. A stop finishes and
writes the current record. A kill loses at most one minute of work.
"""

import contextlib
import platform
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from agm_torch.cache.locks import locked
from agm_torch.config import Engine
from agm_torch.engine.environment import (
    forget_unless_begun,
    library_versions,
    recorded,
)
from agm_torch.engine.fill import Interrupted, fill_shards
from agm_torch.engine.job import Job
from datasets.shards import MANIFEST, ShardWriter, verify_shards


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
      on_progress: called with the number of finished records when it changes.
      on_wait: called with a description of the process that makes the same folder.
      should_stop: asked before every record; true ends the work.

    Raises:
      Interrupted: `should_stop` returned true. The next call resumes.
      OSError: the disk is full or read-only. What was written before stays valid.
      ValueError: the folder in the cache is damaged (names the file), or was begun on
        another device, or with other libraries or models.
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
        if (folder / MANIFEST).is_file():  # another process has just made it
            on_progress(job.count)
            return folder
        fill = _filler(engine, workers, ray_address)
        return _made(job, folder, fill, on_progress, should_stop)


def _made(
    job: Job,
    folder: Path,
    fill: Callable,
    on_progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> Path:
    """The folder, with the records that it lacks made and its manifest written."""
    writer = ShardWriter(
        folder, count=job.count, records_per_shard=job.config.records_per_shard
    )
    forget_unless_begun(writer.partial)
    try:
        _fill_missing(job, writer, fill, on_progress, should_stop)
    except BaseException:
        forget_unless_begun(writer.partial)
        with contextlib.suppress(OSError):  # kept where it holds records
            writer.partial.rmdir()
        raise
    return writer.finish(job.normals, _manifest(job, writer))


def _filler(engine: Engine, workers: int, ray_address: str | None) -> Callable:
    """The function that makes missing shards: `fill_shards`, or one with workers."""
    if engine == "ray":
        from agm_torch.engine.ray_engine import fill_with_ray

        return partial(fill_with_ray, workers=workers, address=ray_address)
    if workers > 1:
        from agm_torch.engine.workers import fill_in_parallel

        return partial(fill_in_parallel, workers=workers)
    return fill_shards


def _fill_missing(
    job: Job,
    writer: ShardWriter,
    fill: Callable,
    on_progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    finished = [_finished_records(writer, n) for n in range(writer.shard_count)]
    missing = [
        shard
        for shard, records in enumerate(finished)
        if records < len(writer.record_numbers(shard))
    ]
    done = sum(finished)
    on_progress(done)
    if not missing:
        return

    def on_records(records: int) -> None:
        nonlocal done
        done += records
        on_progress(done)

    fill(job, writer, missing, on_records, should_stop)


def _finished_records(writer: ShardWriter, shard: int) -> int:
    begun = writer.begun(shard)
    return len(begun.sources) if begun else 0


def _manifest(job: Job, writer: ShardWriter) -> dict[str, Any]:
    """What describes the folder, without anything that differs between two runs."""
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
