"""Measures latency and throughput of one detector in jax, its exports, and PyTorch.

    python -m experiments.bench.inference --run runs/<id> --category gear

Times the CPU from a decoded square of bytes to map and score. The implementations take
turns, so that other work on the machine slows all of them equally.
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

from experiments.run.command_line import read_flags

if TYPE_CHECKING:
    import numpy as np

Call = Callable[["np.ndarray"], Any]
PROJECT = Path(__file__).resolve().parent.parent.parent
IMPLEMENTATIONS = ("jax", "stablehlo", "onnxruntime", "torch")
_START_UP_PROGRAMS = {
    "jax": (
        "from agm_torch.cache_folder import cache_folder\n"
        "from experiments.run.compile_cache import keep_compiled\n"
        "keep_compiled(cache_folder())\n"
        "import lfq_jax, numpy as np\n"
        "lfq_jax.load({folder!r})(np.zeros((*{size}, 3), np.uint8))\n"
    ),
    "stablehlo": (
        "import jax, numpy as np\n"
        "path = {scratch!r} + '/stablehlo-1/model.stablehlo'\n"
        "data = bytearray(open(path, 'rb').read())\n"
        "call = jax.export.deserialize(data).call\n"
        "np.asarray(call(np.zeros((1, *{size}, 3), np.uint8))[3])\n"
    ),
    "onnxruntime": (
        "import onnxruntime, numpy as np\n"
        "options = onnxruntime.SessionOptions()\n"
        "options.log_severity_level = 3\n"
        "path = {scratch!r} + '/onnx-1/model.onnx'\n"
        "s = onnxruntime.InferenceSession(path, options)\n"
        "image = np.zeros((1, *{size}, 3), np.uint8)\n"
        "s.run(['is_anomalous'], {{'images': image}})\n"
    ),
}


@dataclass(frozen=True)
class Settings:
    """Time one detector in every implementation that can run it."""

    run: Path
    """A finished run of preset `cpu`."""
    category: str | None = None
    """The category to time. Needed if the run has several."""
    calls: int = 100
    """Calls at batch size 1. A quarter as many at the other batch sizes."""
    turn: int = 5
    """Calls of one implementation before the next one's turn."""
    batch_sizes: tuple[int, ...] = (1, 4)
    """Batch sizes to time."""
    start_ups: int = 3
    """How often the start-up of each implementation is timed."""
    worker: str = ""
    """Internal: the implementation to time in this process."""
    scratch: Path = Path()
    """Internal: the folder of the exports."""
    cores: int = 2
    """Cores and threads that every implementation may use. On a busy machine one core
    compares more fairly: threads that wait for each other also wait for other work."""


def main() -> None:
    """Measure and print a table and one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.inference")
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    """Export, time and print; or, in a worker process, serve one implementation."""
    from lfq_jax.inference.run_folder import detector_folder

    folder = detector_folder(settings.run, settings.category)
    if settings.worker:
        _serve(settings, folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        _write_exports(folder, Path(scratch), settings.batch_sizes)
        start_up = _time_start_ups(settings, folder, scratch)
        times = _time_calls(settings, folder.parent, scratch)
    figures = _figures(times, start_up)
    print(_table(figures))
    print(json.dumps(figures, indent=1))


def _write_exports(folder: Path, scratch: Path, sizes: tuple[int, ...]) -> None:
    """Write an export per format and batch size: scratch/<format>-<size>."""
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


def _serve(settings: Settings, folder: Path) -> None:
    """Answer every input line `[batch size, calls]` with the seconds of every call."""
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
    """A function that runs the detector on `size` images, in this implementation."""
    if settings.worker == "torch":
        import torch

        from experiments.bench.torch_detector import TorchDetector
        from lfq_jax.inference.detector_files import read_detector

        torch.set_num_threads(settings.cores)
        return TorchDetector(read_detector(folder))
    if settings.worker == "jax":
        from lfq_jax.inference.detector import load

        return load(folder.parent).predictor.score_batch
    from lfq_jax.export.formats import open_export

    kind = {"onnxruntime": "onnx"}.get(settings.worker, settings.worker)
    return open_export(settings.scratch / f"{kind}-{size}", threads=settings.cores)


def _time_calls(
    settings: Settings, folder: Path, scratch: str
) -> dict[str, dict[int, list[float]]]:
    """Seconds of every call, by implementation and batch size.

    Each implementation has its own process, so that its idle threads do not slow
    another one.
    """
    command = [sys.executable, "-m", "experiments.bench.inference"]
    command += ["--run", str(folder), "--scratch", scratch]
    command += ["--cores", str(settings.cores), "--worker"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = {
        name: subprocess.Popen([*command, name], cwd=PROJECT, text=True, **pipes)
        for name in IMPLEMENTATIONS
    }
    times: dict[str, dict[int, list[float]]] = {name: {} for name in IMPLEMENTATIONS}
    try:
        for size in settings.batch_sizes:
            calls = settings.calls if size == 1 else settings.calls // 4
            for _ in range(-(-calls // settings.turn)):
                for name, worker in workers.items():
                    assert worker.stdin and worker.stdout
                    worker.stdin.write(f"[{size}, {settings.turn}]\n")
                    worker.stdin.flush()
                    answer = worker.stdout.readline()
                    if not answer:
                        raise SystemExit(f"{name} failed; see its message above")
                    times[name].setdefault(size, []).extend(json.loads(answer))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return times


def _time_start_ups(
    settings: Settings, folder: Path, scratch: str
) -> dict[str, list[float]]:
    """Seconds from starting Python to the first decision, by implementation."""
    from lfq_jax.inference.detector_files import read_detector

    size = read_detector(folder).model.size
    seconds: dict[str, list[float]] = {}
    for name, code in _START_UP_PROGRAMS.items():
        program = code.format(folder=str(folder.parent), scratch=scratch, size=size)
        for _ in range(settings.start_ups):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)
            seconds.setdefault(name, []).append(time.perf_counter() - started)
    return seconds


def _figures(
    times: dict[str, dict[int, list[float]]], start_up: dict[str, list[float]]
) -> dict[str, Any]:
    """Percentiles of latency, and images per second at the best batch size."""
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
    for row in figures.values():
        row["p50_to_torch"] = round(row["p50_ms"] / figures["torch"]["p50_ms"], 2)
    return figures


def _table(figures: dict[str, Any]) -> str:
    heads = list(next(iter(figures.values())))
    lines = [
        f"| implementation | {' | '.join(heads)} |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for name, row in figures.items():
        cells = ["-" if value is None else str(value) for value in row.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
