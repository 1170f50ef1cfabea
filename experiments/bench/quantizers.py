"""Measures the cost of LFQ's loss: factorised, dense, and vector-quantize-pytorch.

    python -m experiments.bench.quantizers

Times forward and backward of LFQ's complete loss on normally distributed z, on one
core. `ours` is this project's factorised LFQ. `dense` is the textbook formulation in
jax, a softmax over all 2^bits codes. `peer` is the LFQ of vector-quantize-pytorch
(extra `peers`), which computes the same loss.

The time is the shortest of several repetitions, in processor time of the process, so
that other work on the machine has little effect. Memory excludes input and output. For
jax it is XLA's own figure. For all methods, the growth of the process during the
computation is read from /proc. A row that would need more than `--memory-gib` is
skipped; its memory is what XLA reports for it.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from experiments.run.command_line import read_flags

Method = Literal["ours", "dense", "peer"]
ARRAYS = {"ours": 0, "dense": 4, "peer": 8}
"""Arrays of samples x codes that a method holds at once, to estimate its memory."""
TEMPERATURE = 1.0
PEER = "vector_quantize_pytorch"


@dataclass(frozen=True)
class Settings:
    """Measure three implementations of LFQ's loss and gradient in one run."""

    bits: tuple[int, ...] = (10, 12, 14, 16, 18)
    """Numbers of sign bits."""
    samples: tuple[int, ...] = (256, 1024, 4096)
    """Numbers of positions to quantise at once."""
    methods: tuple[Method, ...] = get_args(Method)
    """Implementations to measure."""
    seconds: float = 1.0
    """Seconds for which a row is repeated. At least three repetitions are made."""
    memory_gib: float = 6.0
    """Rows that need more memory are skipped."""
    worker: Method | None = None
    """Internal: measure this implementation in this process and print its rows."""

    def __post_init__(self) -> None:
        for name in ("bits", "samples"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise ValueError(f"--{name} must be 1 or more each, got {values}")


def main() -> None:
    """Measure and print one JSON object, and the table on stderr."""
    settings = read_flags(Settings, prog="python -m experiments.bench.quantizers")
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    """Measure every method in its own process, or one of them in this process."""
    if settings.worker:
        for row in _rows(settings.worker, settings):
            print(json.dumps(row), flush=True)
        return
    rows = [
        row
        for bits in settings.bits
        for method in settings.methods
        for row in _rows_from_process(method, bits, settings)
    ]
    print(json.dumps({"temperature": TEMPERATURE, "rows": rows}, indent=1))
    print(table(rows), file=sys.stderr)


def _rows_from_process(
    method: Method, bits: int, settings: Settings
) -> list[dict[str, Any]]:
    """The rows of one method and number of bits, from its own process on one core."""
    command = [sys.executable, "-m", "experiments.bench.quantizers"]
    command += ["--worker", method, "--bits", str(bits)]
    command += ["--samples", *map(str, settings.samples)]
    command += ["--seconds", str(settings.seconds)]
    command += ["--memory-gib", str(settings.memory_gib)]
    one_thread = {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, env=os.environ | one_thread, stdout=subprocess.PIPE, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _rows(method: Method, settings: Settings) -> list[dict[str, Any]]:
    """The rows of one method, measured in this process on one core."""
    # must precede the imports of jax and torch, which count the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    measure = {"ours": _ours, "dense": _dense, "peer": _peer}[method]
    rows = []
    for bits in settings.bits:
        for samples in settings.samples:
            estimate_gib = ARRAYS[method] * samples * 4 * 2**bits / 2**30
            row: dict[str, Any] = {"method": method, "bits": bits, "samples": samples}
            if method == "peer" and importlib.util.find_spec(PEER) is None:
                row["skipped"] = "not installed: pip install -e '.[peers]'"
            else:
                fits = estimate_gib <= settings.memory_gib
                row |= measure(bits, samples, settings.seconds if fits else 0.0)
                if not fits:
                    row["skipped"] = f"takes about {estimate_gib:.1f} GiB"
            rows.append(row)
    return rows


def _z(bits: int, samples: int) -> Any:
    """Normally distributed z of deviation 0.5: f32 [samples bits]."""
    import numpy as np

    rng = np.random.default_rng((bits, samples))
    return (0.5 * rng.normal(size=(samples, bits))).astype(np.float32)


def _ours(bits: int, samples: int, seconds: float) -> dict[str, Any]:
    from lfq_jax.quantizers import make

    quantizer = make("lfq", bits=bits, temperature=TEMPERATURE)

    def loss(z: Any) -> Any:
        quantized = quantizer.quantize({}, (), z, training=True)
        return quantized.loss, quantized

    return _measure_jax(loss, _z(bits, samples), seconds)


def _dense(bits: int, samples: int, seconds: float) -> dict[str, Any]:
    return _measure_jax(functools.partial(dense_loss, bits), _z(bits, samples), seconds)


def dense_loss(bits: int, z: Any) -> Any:
    """LFQ's loss at its default weights, by a softmax over all codes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    shifts = np.arange(bits - 1, -1, -1)
    # Computed by the program: as its constant the codes would need the memory twice.
    codes = ((jnp.arange(1 << bits)[:, None] >> shifts) & 1) * 2.0 - 1.0
    log_p = jax.nn.log_softmax(2.0 * z @ codes.T / TEMPERATURE)
    sample_entropy = -jnp.mean(jnp.sum(jnp.exp(log_p) * log_p, axis=-1))
    mean = jnp.mean(jnp.exp(log_p), axis=0)
    batch_entropy = -jnp.sum(jax.scipy.special.xlogy(mean, mean))
    hard = jnp.where(z >= 0, 1.0, -1.0)
    commitment = jnp.mean((z - hard) ** 2)
    return 0.02 * (sample_entropy - batch_entropy) + 0.25 * commitment, (
        hard,
        batch_entropy,
    )


def _measure_jax(loss: Callable[[Any], Any], z: Any, seconds: float) -> dict[str, Any]:
    """XLA's memory of loss and gradient; time and growth unless `seconds` is 0."""
    import jax

    on_device = jax.numpy.asarray(z)
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    compiled = gradient.lower(on_device).compile()
    analysis: Any = compiled.memory_analysis()
    temporary = analysis.temp_size_in_bytes
    row: dict[str, Any] = {"xla_mib": round(temporary / 2**20, 2)}
    if seconds:
        row |= _time_and_growth(
            lambda: jax.block_until_ready(compiled(on_device)), seconds
        )
        row["loss"] = round(float(compiled(on_device)[0][0]), 6)
    return row


def _peer(bits: int, samples: int, seconds: float) -> dict[str, Any]:
    """Time and growth of the peer; nothing if `seconds` is 0."""
    if not seconds:
        return {}
    import torch

    vector_quantize_pytorch: Any = importlib.import_module(PEER)
    torch.set_num_threads(1)
    quantizer = vector_quantize_pytorch.LFQ(
        dim=bits, entropy_loss_weight=0.02, commitment_loss_weight=0.25
    ).train()
    z = torch.tensor(_z(bits, samples))[None].requires_grad_()

    def step() -> Any:
        z.grad = None
        loss = quantizer(z, inv_temperature=1 / TEMPERATURE).entropy_aux_loss
        loss.backward()
        return loss

    return _time_and_growth(step, seconds) | {"loss": round(step().item(), 6)}


def _time_and_growth(step: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Shortest milliseconds of a step, and the growth of the process in its first."""
    before = _reset_peak()
    step()
    growth = _status_mib("VmHWM") - before
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.process_time()
        step()
        times.append(time.process_time() - started)
    return {"milliseconds": round(1e3 * min(times), 3), "grown_mib": round(growth, 1)}


def _reset_peak() -> float:
    """Reset the process' recorded peak memory, and return its current memory in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def _status_mib(name: str) -> float:
    """A field of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}")


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds and MiB of every method, and their ratios to ours."""
    by_size: dict[tuple[int, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_size.setdefault((row["bits"], row["samples"]), {})[row["method"]] = row
    methods = [
        m for m in get_args(Method) if any(m in found for found in by_size.values())
    ]
    heads = ["bits", "samples", *(f"{m} ms" for m in methods)]
    heads += [f"{m} MiB" for m in methods]
    if len(methods) > 1:
        heads += [f"{m} / ours, time, memory" for m in methods if m != "ours"]
    lines = [heads, ["---"] * len(heads)]
    for (bits, samples), found in by_size.items():
        rows_found = [found.get(method, {}) for method in methods]
        cells = [str(bits), str(samples)]
        cells += [_cell(row.get("milliseconds")) for row in rows_found]
        cells += [_cell(_memory(row)) for row in rows_found]
        ours = found.get("ours", {})
        for method in methods:
            if method != "ours":
                cells.append(_ratios(found.get(method, {}), ours))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _memory(row: dict[str, Any]) -> float | None:
    return row.get("xla_mib", row.get("grown_mib"))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _ratios(row: dict[str, Any], ours: dict[str, Any]) -> str:
    pairs = [
        (row.get("milliseconds"), ours.get("milliseconds")),
        (_memory(row), _memory(ours)),
    ]
    return ", ".join(_cell(a / b) if a and b else "-" for a, b in pairs)


if __name__ == "__main__":
    main()
