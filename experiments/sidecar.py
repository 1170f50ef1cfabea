"""Finds the shards of a request in the cache, or has a process of its own make them."""

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
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from agm_torch.config import GeneratorConfig, Kind, job_identity
from datasets.images import image_sha256, to_square
from datasets.shards import MANIFEST, SCHEMA_VERSION, content_key

_PROJECT = Path(__file__).resolve().parent.parent
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 30.0
"""How long the process may take to finish its record after it was told to stop."""
_INTERRUPTED = frozenset({130, -signal.SIGINT})


def ensure_shards(
    normals: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    category: str,
    kind: Kind,
    count: int,
    seed: int,
    image_px: int,
    config: GeneratorConfig,
    cache_dir: Path,
    python: Path | None = None,
    workers: int = 1,
    show_progress: bool = True,
    silence_seconds: float = 600.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """The finished shard folder of a request, for `datasets.shards.open_shards`.

    A hit in the cache starts no process. Otherwise `PYTHON -m agm_torch generate` runs,
    in an environment of its own if `python` names one, and writes to
    `<cache_dir>/<key>`. What it made before it was stopped or killed is kept.

    Args:
      normals: the normal images, of any size; what they were made from is recorded.
      python: interpreter of the generator's environment. Default: this one.
      workers: processes that share the work; the bytes are the same with any number.
      silence_seconds: a process that gives no sign of life for so long is ended.

    Raises:
      KeyboardInterrupt: stopped by a signal or `should_stop`.
      ChildProcessError: the process failed or died. The message says how.
    """
    squares = [to_square(normal, image_px) for normal in normals]
    identity = job_identity(
        config,
        category=category,
        kind=kind,
        count=count,
        seed=seed,
        image_px=image_px,
        images=[image_sha256(square) for square in squares],
    )
    key = content_key({"schema_version": SCHEMA_VERSION, **identity})
    folder = cache_dir / key
    if (folder / MANIFEST).is_file():
        return folder
    with tempfile.TemporaryDirectory(prefix="lfquiad-") as scratch:
        images = _written(squares, Path(scratch))
        (Path(scratch) / "config.json").write_text(json.dumps(config.to_json()))
        arguments = [
            *("generate", "--images", *map(str, images), "--category", category),
            *("--kind", kind, "--count", str(count), "--image-px", str(image_px)),
            *("--seed", str(seed), "--cache", str(cache_dir.absolute())),
            *("--config", str(Path(scratch) / "config.json")),
            *("--workers", str(workers), "--json-progress"),
        ]
        with _bar(category, count, shown=show_progress) as bar:
            made = _run(python, arguments, bar, silence_seconds, should_stop)
    if made.name != key:
        raise ChildProcessError(
            f"the generator made {made.name}, not {key}: its environment "
            f"({python or sys.executable}) holds another version of this project"
        )
    return folder


def _written(squares: Sequence[np.ndarray], folder: Path) -> list[Path]:
    paths = [folder / f"normal-{number:03d}.png" for number in range(len(squares))]
    for path, square in zip(paths, squares, strict=True):
        Image.fromarray(square).save(path, compress_level=1)
    return paths


def _bar(category: str, count: int, *, shown: bool) -> tqdm:
    return tqdm(
        total=count,
        desc=f"{category}: anomalies",
        unit="",
        leave=False,
        disable=not shown,
    )


def _run(
    python: Path | None,
    arguments: Sequence[str],
    bar: tqdm,
    silence_seconds: float,
    should_stop: Callable[[], bool],
) -> Path:
    """Run the process to its end and return the folder that it names."""
    paths = [str(_PROJECT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(python or sys.executable), "-m", "agm_torch", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,  # a Ctrl-C comes to it once, by way of this process
        )
        path = None
        try:
            for event in _events(process, silence_seconds, should_stop):
                _show(event, bar)
                path = event.get("path", path)
        finally:
            status = _ended(process)
        if status in _INTERRUPTED:
            raise KeyboardInterrupt
        if status or path is None:
            errors.seek(0)
            raise ChildProcessError(_reason(status, errors.read()))
    return Path(path)


def _events(
    process: subprocess.Popen, silence_seconds: float, should_stop: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """The JSON lines of the process, until it closes its output."""
    assert process.stdout is not None
    descriptor, pending = process.stdout.fileno(), b""
    heard = time.monotonic()
    while True:
        if should_stop():
            raise KeyboardInterrupt
        if select.select([descriptor], [], [], _POLL_SECONDS)[0]:
            data = os.read(descriptor, 65536)
            if not data:
                return
            heard = time.monotonic()
            *lines, pending = (pending + data).split(b"\n")
            yield from map(json.loads, lines)
        elif time.monotonic() - heard > silence_seconds:
            _kill(process)
            raise ChildProcessError(
                f"the generator gave no sign of life for {silence_seconds:.0f} s and "
                "was ended; finished records are kept, the next run goes on from there"
            )


def _show(event: dict[str, Any], bar: tqdm) -> None:
    if event["event"] == "waiting":
        bar.set_postfix_str(f"waiting for {event['owner']}")
    elif event["event"] == "progress":
        if not bar.n and event["done"] and event["records_per_second"] is None:
            bar.initial = event["done"]  # found on disk: no part of the rate
        bar.update(event["done"] - bar.n)


def _ended(process: subprocess.Popen) -> int:
    """Stop the process if it still runs, and return its status."""
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
    """The generator and its workers, which are in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(status: int, errors: str) -> str:
    """How the process ended, from its status and the last line it wrote."""
    lines = [line for line in errors.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it said nothing"
    if status == 2:
        return last.removeprefix("error: ")
    if status < 0 or status == 128 + signal.SIGTERM:
        number = -status if status < 0 else status - 128
        how = f"was killed by {signal.Signals(number).name}"
    else:
        how = f"ended with status {status} ({last})"
    return (
        f"the generator {how}; finished records are kept in the cache, the next run "
        "goes on from there"
    )
