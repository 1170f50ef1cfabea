"""Fill a shard folder from a Ray cluster: actors make records, this process writes.

Only the request and the records are sent, so the machines need no common disk. They
need this project and the same libraries. A machine that would make other bytes is
refused.
"""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from agm_torch.engine.environment import (
    environment,
    library_versions,
    require_same_environment,
)
from agm_torch.engine.fill import Interrupted
from agm_torch.engine.job import Job
from agm_torch.engine.records import Made, OpenShard, RecordMaker
from datasets.errors import is_users_mistake
from datasets.shards import ShardWriter

_POLL_SECONDS = 0.2
_CHUNK_SECONDS = 0.5
"""How long an actor works before it returns its records. A call costs about 2 ms, and
a stop waits for the end of the call."""

_CONNECT_SECONDS = 10.0


class _Answer(NamedTuple):
    """What an actor returns."""

    made: list[Made]
    """The first of the requested records, at least one."""
    refusal: str = ""
    """Why the request cannot be fulfilled, for mistakes that the user can correct."""
    environment: dict[str, str] | None = None
    """Environment of the actor's machine, once the actor is prepared."""


class Maker:
    """The actor: one process of the cluster, with its own models."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._maker: RecordMaker | None = None

    def prepare(self, key: str, versions: dict[str, str]) -> _Answer:
        """Load the models, unless this machine would make other bytes.

        Args:
          key: the job's key, computed by the driver.
          versions: versions of the driver's libraries.
        """
        return _answer_of(lambda: self._prepared(key, versions))

    def make(self, numbers: range) -> _Answer:
        """The first of these records, as many as are made in half a second."""
        return _answer_of(lambda: _Answer(self._made(numbers)))

    def _prepared(self, key: str, versions: dict[str, str]) -> _Answer:
        here = library_versions(self._job)
        differing = [
            f"{n} {here[n]}, not {v}" for n, v in versions.items() if here[n] != v
        ]
        if self._job.key != key:
            differing.append("another version of this project, or of a file it reads")
        if differing:
            raise ValueError(
                f"ray node {os.uname().nodename} has {'; '.join(differing)}: it would "
                "make other bytes"
            )
        self._maker = RecordMaker(self._job)
        return _Answer([], environment=environment(self._job))

    def _made(self, numbers: range) -> list[Made]:
        assert self._maker is not None
        made: list[Made] = []
        started = time.monotonic()
        while numbers[len(made) :] and time.monotonic() - started < _CHUNK_SECONDS:
            start = len(made)
            made += self._maker.make(numbers[start : start + self._maker.batch])
        return made


def _answer_of(work: Callable[[], _Answer]) -> _Answer:
    """The result of `work`, with a user's mistake as a refusal."""
    try:
        return work()
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise
        return _Answer([], str(error))


class _Call(NamedTuple):
    """The call that an actor is working on."""

    actor: Any
    shard: OpenShard | None
    """None while the actor prepares."""


def fill_with_ray(
    job: Job,
    writer: ShardWriter,
    shards: Sequence[int],
    on_records: Callable[[int], None],
    should_stop: Callable[[], bool],
    *,
    workers: int,
    address: str | None = None,
) -> None:
    """As `fill_shards`, by actors of a Ray cluster, each its own shards.

    An actor that dies is not replaced; the others take over its records.

    Args:
      workers: largest number of actors. The cluster starts as many as fit.
      address: of a running cluster. Default: $RAY_ADDRESS; without it, a cluster is
        started on this machine and ended afterwards.

    Raises:
      FileNotFoundError: ray is not installed.
      ConnectionError: there is no cluster at the address.
      Interrupted: `should_stop` returned true. Every actor's records are written.
      ValueError: an actor refused the request, or its machine would make other bytes.
      ChildProcessError: every actor died. Their records stay.
    """
    if importlib.util.find_spec("ray") is None:
        raise FileNotFoundError(
            "ray is not installed: pip install -e '.[ray]'; --engine local needs none"
        )
    waiting = deque(OpenShard(writer, number) for number in shards)
    count = min(workers, len(waiting))
    with _cluster(count, address) as ray:
        calls = _start_actors(ray, job, count)
        _Driver(ray, calls, waiting, writer, on_records).run(should_stop)


class _Driver:
    """Gives the shards to the actors, and writes what they return."""

    def __init__(
        self,
        ray: Any,
        calls: dict[Any, _Call],
        waiting: deque[OpenShard],
        writer: ShardWriter,
        on_records: Callable[[int], None],
    ) -> None:
        self._ray, self._calls, self._waiting = ray, calls, waiting
        self._writer, self._on_records = writer, on_records

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until every shard is full. Raises what `fill_with_ray` raises."""
        stopping = False
        while (self._waiting and not stopping and self._calls) or self._busy:
            stopping = stopping or should_stop()
            ready, _ = self._ray.wait(list(self._calls), timeout=_POLL_SECONDS)
            for reference in ready:
                self._receive(reference, stopping)
        if stopping:
            raise Interrupted
        if self._waiting:
            raise ChildProcessError(
                "every ray actor died; finished records are kept, the same command "
                "resumes"
            )

    @property
    def _busy(self) -> list[_Call]:
        return [call for call in self._calls.values() if call.shard is not None]

    def _receive(self, reference: Any, stopping: bool) -> None:
        """Store the records of a finished call, and give its actor the next."""
        actor, shard = self._calls.pop(reference)
        try:
            answer: _Answer = self._ray.get(reference)
        except self._ray.exceptions.RayActorError:
            if shard is not None:
                shard.write()
                self._waiting.appendleft(shard)
            return
        try:
            if answer.refusal:
                raise ValueError(answer.refusal)
            require_same_environment(self._writer.partial, answer.environment or {})
        except ValueError:
            for call in [_Call(actor, shard), *self._busy]:
                if call.shard is not None:
                    call.shard.write()
            raise
        if shard is not None:
            shard.add(answer.made)
            self._on_records(len(answer.made))
        if stopping:
            if shard is not None and shard.missing:
                shard.write()
            return
        if shard is None or not shard.missing:
            shard = self._waiting.popleft() if self._waiting else None
        if shard is not None:
            self._calls[actor.make.remote(shard.missing)] = _Call(actor, shard)


def _start_actors(ray: Any, job: Job, count: int) -> dict[Any, _Call]:
    """Actors that load their models, by the references of these calls."""
    identity, key, versions = job.identity, job.key, library_versions(job)
    # a new job, without cached properties: every node computes its own key
    small = ray.put(dataclasses.replace(job, images=tuple(job.normals)))
    needs_gpu = identity["config"].get("device", {}).get("device") in ("auto", "cuda")
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    options = {"num_cpus": 1, "num_gpus": int(needs_gpu and has_gpus)}
    actors = [ray.remote(Maker).options(**options).remote(small) for _ in range(count)]
    return {actor.prepare.remote(key, versions): _Call(actor, None) for actor in actors}


def _check_answers(address: str) -> None:
    """Refuse an address without a cluster. Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"ray_address must be host:port or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"ray_address: no cluster answers at {address} ({error})"
        ) from None


@contextlib.contextmanager
def _cluster(count: int, address: str | None) -> Iterator[Any]:
    """A connection to the cluster. A cluster that was started here is ended."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "auto":
        _check_answers(address)
    own_cluster = {"num_cpus": count, "include_dashboard": False}
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=address,
            log_to_driver=False,  # standard output is for progress only
            logging_level=logging.ERROR,
            **({} if address else own_cluster),
        )
        for number, handler in handlers.items():  # ray has replaced them
            signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)
