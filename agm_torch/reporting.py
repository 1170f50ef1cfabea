"""The generate command: its progress, for a person or a parent process, and signals."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from agm_torch.cache.pruning import prune
from agm_torch.command_line import Generate, Images
from agm_torch.config import GeneratorConfig, config_from_json
from agm_torch.engine.fill import Interrupted
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from agm_torch.photographs import photograph_paths, read_photographs
from datasets.progress import Bar, last_line, write_line
from datasets.stopping import last_words

HEARTBEAT_SECONDS = 5.0
FINISH_SECONDS = 1.0
"""Time to finish the current record after a request to stop."""
STOPPED = "stopped; the same command resumes"
_SECONDS_BETWEEN_REPORTS = 0.1
_GIGABYTE = 10**9


class StopOnSignal:
    """Notes the first SIGINT or SIGTERM. A call returns whether one has arrived.

    The record that is being made may still be finished. After FINISH_SECONDS, and after
    a second signal, `KeyboardInterrupt` is raised, also while weights are downloaded or
    models are loaded.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        return 128 + (self.signal or signal.SIGPIPE)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None:
            self.close()
            raise KeyboardInterrupt
        self.signal = number
        signal.setitimer(signal.ITIMER_REAL, FINISH_SECONDS)

    def close(self) -> None:
        """Do not raise after the time is up."""
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Report(Protocol):
    is_heard: bool

    def progress(self, done: int) -> None: ...
    def wait(self, owner: str) -> None: ...
    def end(self, event: str, **values: Any) -> None: ...
    def close(self) -> None: ...


class JsonReport:
    """Prints one JSON object per line to stdout, with heartbeats in long records."""

    def __init__(self, count: int) -> None:
        self._count, self._done, self._before = count, 0, None
        self._started = time.monotonic()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self.is_heard = True
        threading.Thread(target=self._send_heartbeats, daemon=True).start()

    def progress(self, done: int) -> None:
        seconds = time.monotonic() - self._started
        if self._before is None:  # earlier records are no part of the rate
            self._before, self._started, seconds = done, time.monotonic(), 0.0
        self._done = done
        made = done - self._before
        left = (self._count - done) * seconds / made if made else None
        rate = made / seconds if made and seconds else None
        self._print("progress", done=done, seconds_left=left, records_per_second=rate)

    def wait(self, owner: str) -> None:
        self._print("waiting", owner=owner)

    def end(self, event: str, **values: Any) -> None:
        self.close()
        self._print(event, done=self._done, **values)

    def close(self) -> None:
        self._ended.set()

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            self._print("heartbeat", done=self._done)

    def _print(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, "count": self._count, **values})
        with self._lock:
            try:
                print(line, flush=True)
            except BrokenPipeError:  # the reader is gone: stop, as on a signal
                self.is_heard = False
                sys.stdout = open(os.devnull, "w")


class BarReport:
    """Draws a progress bar on stderr, and prints the folder to stdout."""

    is_heard = True

    def __init__(self, count: int, category: str) -> None:
        self._count, self._category = count, category
        self._bar: Bar | None = None

    def progress(self, done: int) -> None:
        if self._bar is None:  # earlier records are no part of the rate
            name = f"{self._category}: anomalies"
            self._bar = Bar(total=self._count, initial=done, desc=name)
        self._bar.update(done - self._bar.n)

    def wait(self, owner: str) -> None:
        write_line(f"waiting for {owner}, which makes the same folder")

    def end(self, event: str, **values: Any) -> None:
        self.close()
        if event == "done":
            print(values["path"])
        else:
            last_line(STOPPED)

    def close(self) -> None:
        if self._bar is not None:  # so that an error message has its own line
            self._bar.close()


def generate_command(command: Generate) -> int:
    """Run `python -m agm_torch generate`; returns the exit status."""
    limit_gb = command.cache_limit_gb
    if limit_gb is not None and not limit_gb >= 0:
        raise ValueError(f"cache_limit_gb must be 0 or more, got {limit_gb}")
    should_stop = StopOnSignal()
    job = read_job(command, count=command.count)
    report: _Report = (
        JsonReport(command.count)
        if command.json_progress
        else BarReport(command.count, command.category)
    )
    progress = _Throttle(report.progress)
    try:
        with last_words(STOPPED):
            folder = generate(
                job,
                command.cache,
                workers=command.workers,
                engine=command.engine,
                ray_address=command.ray_address,
                on_progress=progress,
                on_wait=report.wait,
                should_stop=lambda: should_stop() or not report.is_heard,
            )
    except (Interrupted, KeyboardInterrupt):
        should_stop.close()
        progress.flush()
        report.end("interrupted")
        return should_stop.exit_status
    except BaseException:
        report.close()
        raise
    if limit_gb is not None:
        prune(command.cache, max_bytes=int(limit_gb * _GIGABYTE), keep=folder)
    progress.flush()
    report.end("done", path=str(folder))
    return 0


def read_job(command: Images, *, count: int) -> Job:
    """The job that the command line describes, with its images read.

    Raises:
      ValueError, FileNotFoundError: see `Job`, `photograph_paths`, `read_photographs`.
    """
    return Job(
        images=tuple(read_photographs(photograph_paths(command.images))),
        category=command.category,
        kind=command.kind,
        count=count,
        seed=command.seed,
        image_px=command.image_px,
        fit=command.fit,
        size_px=command.size_px,
        config=_config(command),
    )


def _config(command: Images) -> GeneratorConfig:
    if command.config is None:
        return command.generator
    if command.generator != GeneratorConfig():
        raise ValueError("config and flags of the generator exclude each other")
    try:
        values = json.loads(command.config.read_text())
        return config_from_json(values.get("options", values))
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        AttributeError,
        TypeError,
    ) as error:
        raise ValueError(
            f"config {command.config} is not a configuration: {error}"
        ) from None


class _Throttle:
    """Reports the first count and then ten per second; `flush` reports the last."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report, self._reported_at = report, float("-inf")
        self._latest: int | None = None

    def __call__(self, done: int) -> None:
        self._latest = done
        if time.monotonic() - self._reported_at >= _SECONDS_BETWEEN_REPORTS:
            self.flush()

    def flush(self) -> None:
        if self._latest is not None:
            self._report(self._latest)
            self._reported_at, self._latest = time.monotonic(), None
