"""Fills a shard folder with several processes, each with its own shards."""

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from agm_torch.engine.fill import Interrupted, fill_shards
from agm_torch.engine.job import Job
from datasets.errors import is_users_mistake
from datasets.shards import ShardWriter

_POLL_SECONDS = 0.2
_FINISH_SECONDS = 1.0
"""Time to finish the current record after a request to stop."""
_WRITE_SECONDS = 1.5
"""Time to write the records of a shard."""


def fill_in_parallel(
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    on_records: Callable[[int], None],
    should_stop: Callable[[], bool],
    *,
    workers: int,
) -> None:
    """As `fill_shards`, split by shard. With several GPUs, each worker uses one.

    Raises:
      Interrupted: `should_stop` returned true. Every worker's records are written.
      ValueError: a worker refused the request. The message is the worker's.
      ChildProcessError: a worker died. All finished records stay.
    """
    if min(workers, len(shards)) == 1:
        return fill_shards(job, writer, shards, on_records, should_stop)
    context = multiprocessing.get_context("spawn")
    messages, stop = context.Queue(), context.Event()
    processes = [
        context.Process(
            target=_work,
            args=(number, job, writer, shards[number::workers], messages, stop),
            daemon=True,
        )
        for number in range(min(workers, len(shards)))
    ]
    for process in processes:
        process.start()
    refusals: list[str] = []
    try:
        while any(process.is_alive() for process in processes):
            refusals += _pass_on(messages, on_records)
            died = any(process.exitcode for process in processes)
            if should_stop() or died or refusals:
                stop.set()
        refusals += _pass_on(messages, on_records)
    finally:
        stop.set()
        _end(processes)
    if refusals:
        raise ValueError(refusals[0])
    _require_success(processes)
    if should_stop():
        raise Interrupted


def _end(processes: Sequence[SpawnProcess]) -> None:
    """Wait for the workers, which write what they have made. Slow ones are ended."""
    for seconds, hurry in ((_FINISH_SECONDS, "terminate"), (_WRITE_SECONDS, "kill")):
        deadline = time.monotonic() + seconds
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        for process in processes:
            if process.is_alive():
                getattr(process, hurry)()
    for process in processes:
        process.join()


def _pass_on(messages: Any, on_records: Callable[[int], None]) -> list[str]:
    """Report the records of the workers; waits a moment for the first message.

    Returns:
      Why workers refused the request.
    """
    timeout, refusals = _POLL_SECONDS, []
    while True:
        try:
            message = messages.get(timeout=timeout)
        except queue.Empty:
            return refusals
        if isinstance(message, str):
            refusals.append(message)
        else:
            on_records(message)
        timeout = 0


def _require_success(processes: Sequence[SpawnProcess]) -> None:
    for number, process in enumerate(processes):
        if process.exitcode:
            raise ChildProcessError(
                f"worker {number} ended with status {process.exitcode}; finished "
                "records are kept, the same command resumes"
            )


def _work(
    number: int,
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    messages: Any,
    stop: Any,
) -> None:
    """What a worker process runs."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the parent process decides when to stop

    def hurry(number: int, frame: Any) -> None:
        if stop.is_set():  # this record takes too long to be waited for
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGTERM, hurry)
    parent = os.getppid()
    gpus = visible_gpus()
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]

    def should_stop() -> bool:
        return stop.is_set() or os.getppid() != parent

    try:
        fill_shards(job, writer, shards, messages.put, should_stop)
    except (Interrupted, KeyboardInterrupt):
        pass
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise
        messages.put(str(error))
    if os.getppid() != parent:
        messages.cancel_join_thread()  # the reader is gone


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as named in CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    devices = Path("/proc/driver/nvidia/gpus")
    return (
        [str(i) for i in range(len(list(devices.iterdir())))]
        if devices.is_dir()
        else []
    )
