"""Makes the records of shards in this process, and writes them."""

from collections.abc import Callable, Sequence

from agm_torch.engine.environment import environment, require_same_environment
from agm_torch.engine.job import Job
from agm_torch.engine.records import OpenShard, RecordMaker
from datasets.shards import ShardWriter


class Interrupted(Exception):
    """Stopped on request. The finished records are on disk; the next run resumes."""


def fill_shards(
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    on_records: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    """Make and write the missing records of some shards, in this process.

    Raises:
      Interrupted: `should_stop` returned true. The records made so far are written.
      ValueError: the folder was begun on another device, or with other libraries or
        models.
    """
    maker = RecordMaker(job)
    require_same_environment(writer.partial, environment(job))
    for number in shards:
        shard = OpenShard(writer, number)
        while shard.missing:
            if should_stop():
                shard.write()
                raise Interrupted
            try:
                made = maker.make(shard.missing[: maker.batch])
            except KeyboardInterrupt:  # these records take too long to be waited for
                shard.write()
                raise Interrupted from None
            shard.add(made)
            on_records(len(made))
