"""Several processes fill one shard folder, each its own shards."""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from agm_torch.job import Job
from agm_torch.process import Interrupted, fill_shards
from datasets.errors import is_users_mistake
from datasets.shards import ShardWriter

_POLL_SECONDS = 0.2


def fill_in_parallel(
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    on_records: Callable[[int], None],
    should_stop: Callable[[], bool],
    *,
    workers: int,
) -> None:
    """As `fill_shards`, split by shard. With several GPUs each worker sees one.

    Raises:
      Interrupted: `should_stop` said so, and every worker has written what it had.
      ValueError: a worker refused the request. The message is its own.
      ChildProcessError: a worker died. The shards of the others stay.
    """
    if min(workers, len(shards)) == 1:
        return fill_shards(job, writer, shards, on_records, should_stop)
    context = multiprocessing.get_context("spawn")
    news, stop = context.Queue(), context.Event()
    processes = [
        context.Process(
            target=_work,
            args=(number, job, writer, shards[number::workers], news, stop),
            daemon=True,
        )
        for number in range(min(workers, len(shards)))
    ]
    for process in processes:
        process.start()
    refusals: list[str] = []
    try:
        while any(process.is_alive() for process in processes):
            refusals += _tell(news, on_records)
            died = any(process.exitcode for process in processes)
            if should_stop() or died or refusals:
                stop.set()
        refusals += _tell(news, on_records)
    finally:
        stop.set()
        for process in processes:
            process.join()
    if refusals:
        raise ValueError(refusals[0])
    _raise_for(processes)
    if should_stop():
        raise Interrupted


def _tell(news: Any, on_records: Callable[[int], None]) -> list[str]:
    """Pass on what the workers say, waiting a moment for the first word.

    Returns:
      The messages of those that refused the request.
    """
    timeout, refusals = _POLL_SECONDS, []
    while True:
        try:
            word = news.get(timeout=timeout)
        except queue.Empty:
            return refusals
        if isinstance(word, str):
            refusals.append(word)
        else:
            on_records(word)
        timeout = 0


def _raise_for(processes: Sequence[SpawnProcess]) -> None:
    for number, process in enumerate(processes):
        if process.exitcode:
            raise ChildProcessError(
                f"worker {number} ended with status {process.exitcode}; finished "
                "records are kept, the same command goes on from there"
            )


def _work(
    number: int,
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    news: Any,
    stop: Any,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    parent = os.getppid()
    gpus = visible_gpus()
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]

    def should_stop() -> bool:
        return stop.is_set() or os.getppid() != parent

    try:
        fill_shards(job, writer, shards, news.put, should_stop)
    except Interrupted:
        pass
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise
        news.put(str(error))
    if os.getppid() != parent:
        news.cancel_join_thread()  # nobody reads it any more


def visible_gpus() -> list[str]:
    """The GPUs this process may use, by the names CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    devices = Path("/proc/driver/nvidia/gpus")
    return (
        [str(i) for i in range(len(list(devices.iterdir())))]
        if devices.is_dir()
        else []
    )
