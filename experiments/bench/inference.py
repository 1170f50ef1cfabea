"""Latency and throughput of one detector: ours, its exports, and PyTorch, in one run.

    python -m experiments.bench.inference --run runs/<id> --category gear

From a decoded square of bytes to map and score on the CPU. The ways take turns, round
by round, so that what else the machine does falls on all of them alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.command_line import read_flags

if TYPE_CHECKING:
    import numpy as np

Call = Callable[["np.ndarray"], Any]
PROJECT = Path(__file__).resolve().parent.parent.parent
WAYS = ("jax", "stablehlo", "onnxruntime", "torch")
_START = {
    "jax": (
        "from experiments.run import cache_folder, keep_compiled\n"
        "keep_compiled(cache_folder())\n"
        "import lfq_jax, numpy as np\n"
        "lfq_jax.load({folder!r})(np.zeros((320, 320, 3), np.uint8))\n"
    ),
    "stablehlo": (
        "import jax, numpy as np\n"
        "path = {scratch!r} + '/stablehlo-1/model.stablehlo'\n"
        "data = bytearray(open(path, 'rb').read())\n"
        "call = jax.export.deserialize(data).call\n"
        "np.asarray(call(np.zeros((1, {px}, {px}, 3), np.uint8))[3])\n"
    ),
    "onnxruntime": (
        "import onnxruntime, numpy as np\n"
        "options = onnxruntime.SessionOptions()\n"
        "options.log_severity_level = 3\n"
        "path = {scratch!r} + '/onnx-1/model.onnx'\n"
        "s = onnxruntime.InferenceSession(path, options)\n"
        "image = np.zeros((1, {px}, {px}, 3), np.uint8)\n"
        "s.run(['is_anomalous'], {{'images': image}})\n"
    ),
}


@dataclass(frozen=True)
class Settings:
    """Time one detector in every way that it can be run."""

    run: Path
    """A finished run of preset `cpu`."""
    category: str | None = None
    """Which category, where the run has several."""
    calls: int = 100
    """Calls at batch 1; a quarter as many at the other batch sizes."""
    turn: int = 5
    """Calls before the next way has its turn."""
    batch_sizes: tuple[int, ...] = (1, 4)
    """Batch sizes to try."""
    start_ups: int = 3
    """How often each way is started anew."""
    worker: str = ""
    """For the processes that this one starts: the way to time."""
    scratch: Path = Path()
    """For those processes: where the exports lie."""
    cores: int = 2
    """Cores, and threads, that every way may use. On a machine with other work on it
    one core compares more fairly: threads that wait for each other wait for the others'
    work too."""


def main() -> None:
    """Measure and print a table and one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.inference")
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    from lfq_jax.inference.run_folder import detector_folder

    folder = detector_folder(settings.run, settings.category)
    if settings.worker:
        _work(settings, folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        _write_exports(folder, Path(scratch), settings.batch_sizes)
        start_up = _start_ups(settings, folder, scratch)
        times = _all_timed(settings, folder.parent, scratch)
    figures = _figures(times, start_up)
    print(_table(figures))
    print(json.dumps(figures, indent=1))


def _write_exports(folder: Path, scratch: Path, sizes: tuple[int, ...]) -> None:
    from lfq_jax.export.formats import WRITERS, Format
    from lfq_jax.inference.detector import load

    detector = load(folder.parent)
    kinds: tuple[Format, ...] = ("stablehlo", "onnx")
    for size in sizes:
        for kind in kinds:
            out = scratch / f"{kind}-{size}"
            out.mkdir()
            WRITERS[kind](detector, out, size)
            (out / "export.json").write_text(json.dumps({"format": kind}))


def _work(settings: Settings, folder: Path) -> None:
    """Answer lines `[batch size, calls]` with the seconds of every call."""
    from lfq_jax.inference.detector_files import read_validation

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.cores])
    images = read_validation(folder)
    calls: dict[int, Call] = {}
    for line in sys.stdin:
        size, count = json.loads(line)
        if size not in calls:
            calls[size] = _call(settings, folder, size)
            for _ in range(3):
                calls[size](images[:size])
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            calls[size](images[:size])
            seconds.append(time.perf_counter() - started)
        print(json.dumps(seconds), flush=True)


def _call(settings: Settings, folder: Path, size: int) -> Call:
    """One way to run the detector on `size` images."""
    if settings.worker == "torch":
        import torch

        from experiments.bench.torch_detector import TorchDetector
        from lfq_jax.inference.detector_files import read_detector

        torch.set_num_threads(settings.cores)
        return TorchDetector(read_detector(folder))
    if settings.worker == "jax":
        from lfq_jax.inference.detector import load

        return load(folder.parent).networks.run_batch
    from lfq_jax.export.formats import open_export

    kind = {"onnxruntime": "onnx"}.get(settings.worker, settings.worker)
    return open_export(settings.scratch / f"{kind}-{size}", threads=settings.cores)


def _all_timed(
    settings: Settings, folder: Path, scratch: str
) -> dict[str, dict[int, list[float]]]:
    """Seconds of every call by way and batch size. A process a way: the threads of one
    must not wait in the way of another's."""
    command = [sys.executable, "-m", "experiments.bench.inference"]
    command += ["--run", str(folder), "--scratch", scratch]
    command += ["--cores", str(settings.cores), "--worker"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = {
        way: subprocess.Popen([*command, way], cwd=PROJECT, text=True, **pipes)
        for way in WAYS
    }
    times: dict[str, dict[int, list[float]]] = {way: {} for way in WAYS}
    try:
        for size in settings.batch_sizes:
            calls = settings.calls if size == 1 else settings.calls // 4
            for _ in range(-(-calls // settings.turn)):
                for way, worker in workers.items():
                    assert worker.stdin and worker.stdout
                    worker.stdin.write(f"[{size}, {settings.turn}]\n")
                    worker.stdin.flush()
                    answer = worker.stdout.readline()
                    if not answer:
                        raise SystemExit(f"{way} failed; its message stands above")
                    times[way].setdefault(size, []).extend(json.loads(answer))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return times


def _start_ups(
    settings: Settings, folder: Path, scratch: str
) -> dict[str, list[float]]:
    """Seconds from starting Python to the first decision, by way."""
    from lfq_jax.inference.detector_files import read_detector

    px = read_detector(folder).model.image_px
    found: dict[str, list[float]] = {}
    for name, code in _START.items():
        program = code.format(folder=str(folder.parent), scratch=scratch, px=px)
        for _ in range(settings.start_ups):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)
            found.setdefault(name, []).append(time.perf_counter() - started)
    return found


def _figures(
    times: dict[str, dict[int, list[float]]], start_up: dict[str, list[float]]
) -> dict[str, Any]:
    """Percentiles in milliseconds; images a second at the best batch size."""
    import numpy as np

    figures = {}
    for name, by_size in times.items():
        latency = 1e3 * np.asarray(by_size[min(by_size)])
        rates = {size: size / float(np.median(s)) for size, s in by_size.items()}
        best = max(rates, key=lambda size: rates[size])
        figures[name] = {
            "p50_ms": round(float(np.percentile(latency, 50)), 1),
            "p99_ms": round(float(np.percentile(latency, 99)), 1),
            "images_per_second": round(rates[best], 1),
            "best_batch_size": best,
            "first_decision_s": (
                round(min(start_up[name]), 2) if name in start_up else None
            ),
        }
    for each in figures.values():
        each["p50_to_torch"] = round(each["p50_ms"] / figures["torch"]["p50_ms"], 2)
    return figures


def _table(figures: dict[str, Any]) -> str:
    heads = list(next(iter(figures.values())))
    lines = [f"| way | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, each in figures.items():
        cells = ["-" if value is None else str(value) for value in each.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
