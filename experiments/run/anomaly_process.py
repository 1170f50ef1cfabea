"""Synthetic anomalies from the cache, or from a process that generates them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from agm_torch.config import GeneratorConfig, Kind, job_identity
from datasets.files import writing
from datasets.framing import Framing
from datasets.images import image_sha256
from datasets.progress import Bar
from datasets.shards import MANIFEST, SCHEMA_VERSION, content_key
from experiments.run.anomaly_options import AnomalyOptions

if TYPE_CHECKING:
    from datasets import Shots

_PROJECT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 2.8
"""Time in which the process may write its records after a request to stop."""
_SILENCE_SECONDS = 600.0
"""A process that writes nothing for this time is ended."""
_INTERRUPTED = frozenset({130, -signal.SIGINT})


def shards_for_shots(
    options: AnomalyOptions,
    shots: "Shots",
    *,
    seed: int,
    framing: Framing,
    cache_dir: Path,
    should_stop: Callable[[], bool],
    show_progress: bool = True,
) -> Path:
    """The shard folder with the anomalies that are generated from `shots`.

    The folder holds the anomalies to train on and the held-out ones.

    Args:
      framing: how the shots become images of the networks' size.
      cache_dir: the command's cache folder.
      should_stop, show_progress: as in `ensure_shards`.
    """
    first = shots.examples[0]
    return ensure_shards(
        [example.image for example in shots.examples],
        category=first.category,
        kind=first.kind,
        count=options.anomalies + options.validation_anomalies,
        seed=seed,
        framing=framing,
        config=options.agm,
        cache_dir=cache_dir / "anomalies",
        python=options.agm_python,
        workers=options.agm_workers,
        show_progress=show_progress,
        should_stop=should_stop,
    )


def ensure_shards(
    normals: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    category: str,
    kind: Kind,
    count: int,
    seed: int,
    framing: Framing,
    config: GeneratorConfig,
    cache_dir: Path,
    python: Path | None = None,
    workers: int = 1,
    show_progress: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """The complete shard folder of a request, for `datasets.shards.open_shards`.

    If the folder is in the cache, no process is started. Otherwise
    `PYTHON -m agm_torch generate` runs and writes to `<cache_dir>/<key>`. Records that
    were finished before the process was stopped or killed are kept.

    The many parameters are those of the generator's command: each is a flag of it, and
    most of them decide the key.

    Args:
      normals: the normal images, of any size. Their hashes are recorded.
      category, kind: of the normal images.
      count: the number of anomalies.
      framing: how the normal images become those in the shards.
      config: how anomalies are made.
      python: interpreter of the generator's environment. Default: this one.
      workers: processes that share the work. The shards do not depend on this number.
      should_stop: the process is stopped once this returns true.

    Raises:
      KeyboardInterrupt: stopped by a signal or `should_stop`.
      ChildProcessError: the process failed or died. The message says how.
    """
    resized = [framing.training_image(normal) for normal in normals]
    identity = job_identity(
        config,
        category=category,
        kind=kind,
        count=count,
        seed=seed,
        size=framing.size,
        images=[image_sha256(image) for image in resized],
    )
    key = content_key({"schema_version": SCHEMA_VERSION, **identity})
    folder = cache_dir / key
    if (folder / MANIFEST).is_file():
        return folder
    with tempfile.TemporaryDirectory(prefix="lfquiad-") as scratch:
        with writing(Path(scratch)):
            images = _written(resized, Path(scratch))
            (Path(scratch) / "config.json").write_text(json.dumps(config.to_json()))
        arguments = [
            *("generate", "--images", *map(str, images), "--category", category),
            *("--kind", kind, "--count", str(count)),
            *("--size-px", *map(str, framing.size)),
            *("--seed", str(seed), "--cache", str(cache_dir.absolute())),
            *("--config", str(Path(scratch) / "config.json")),
            *("--workers", str(workers), "--json-progress"),
        ]
        with _bar(category, count, shown=show_progress) as bar:
            made = _run(python, arguments, bar, should_stop)
    if made.name != key:
        raise ChildProcessError(
            f"the generator made {made.name}, not {key}: its environment "
            f"({python or sys.executable}) holds another version of this project"
        )
    return folder


def _written(images: Sequence[np.ndarray], folder: Path) -> list[Path]:
    """Write the images as PNG files into `folder`, and return their paths."""
    paths = [folder / f"normal-{number:03d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path, compress_level=1)
    return paths


def _bar(category: str, count: int, *, shown: bool) -> Bar:
    return Bar(total=count, desc=f"{category}: anomalies", disable=not shown)


def _run(
    python: Path | None,
    arguments: Sequence[str],
    bar: Bar,
    should_stop: Callable[[], bool],
) -> Path:
    """Run the process to its end, and return the folder that it reports."""
    paths = [str(_PROJECT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(python or sys.executable), "-m", "agm_torch", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,  # only this process gets a Ctrl-C, and passes it on
        )
        path = None
        try:
            for event in _events(process, should_stop):
                _show(event, bar)
                path = event.get("path", path)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            raise
        finally:
            status = _ended(process)
        # A scheduler may send the same signal to the generator.
        if status in _INTERRUPTED or should_stop():
            raise KeyboardInterrupt
        if status or path is None:
            errors.seek(0)
            raise ChildProcessError(_reason(status, errors.read()))
    return Path(path)


def _events(
    process: subprocess.Popen, should_stop: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """The JSON lines that the process writes, until it closes its output."""
    assert process.stdout is not None
    descriptor, pending = process.stdout.fileno(), b""
    last_output = time.monotonic()
    while True:
        if should_stop():
            raise KeyboardInterrupt
        if select.select([descriptor], [], [], _POLL_SECONDS)[0]:
            data = os.read(descriptor, 65536)
            if not data:
                return
            last_output = time.monotonic()
            *lines, pending = (pending + data).split(b"\n")
            yield from map(json.loads, lines)
        elif time.monotonic() - last_output > _SILENCE_SECONDS:
            _kill(process)
            raise ChildProcessError(
                f"the generator wrote nothing for {_SILENCE_SECONDS:.0f} s and was "
                "ended; finished records are kept, and the next run resumes from there"
            )


def _show(event: dict[str, Any], bar: Bar) -> None:
    if event["event"] == "waiting":
        bar.set_postfix_str(f"waiting for {event['owner']}")
    elif event["event"] == "progress":
        if not bar.n and event["done"] and event["records_per_second"] is None:
            bar.initial = event["done"]  # made by an earlier run: not in the rate
        bar.update(event["done"] - bar.n)


def _ended(process: subprocess.Popen) -> int:
    """Stop the process if it still runs, and return its exit status."""
    assert process.stdout is not None
    try:
        if process.poll() is None:
            try:
                process.wait(1.0)  # its output is closed: it is about to end
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
        return process.wait(_GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        _kill(process)
        return process.wait()
    finally:
        process.stdout.close()


def _kill(process: subprocess.Popen) -> None:
    """Kill the generator and its workers, which are in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(status: int, errors: str) -> str:
    """How the process ended, from its status and the last line it wrote."""
    lines = [line for line in errors.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it wrote no message"
    if status == 2:
        return last.removeprefix("error: ")
    if status < 0 or status == 128 + signal.SIGTERM:
        number = -status if status < 0 else status - 128
        how = f"was killed by {signal.Signals(number).name}"
    else:
        how = f"ended with status {status} ({last})"
    return (
        f"the generator {how}; finished records are kept in the cache, and the next "
        "run resumes from there"
    )
