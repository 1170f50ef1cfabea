"""What LFQ's entropies cost: factorised, dense, and in vector-quantize-pytorch.

    python -m experiments.bench.quantizers

Forward and backward of LFQ's whole loss on normal z, on one core. `dense` is the
textbook formulation in jax, a softmax over all 2^bits codes; `peer` is the LFQ of
vector-quantize-pytorch (extra `peers`), which computes the same. Seconds are the least
of some repetitions, of this process' own time, so that other work on the machine counts
little. Memory beyond input and output: XLA's own figure for jax, and for all the growth
of the process while it computes, read from /proc. A row that would take more than
`--memory-gib` is not run; its memory is what XLA says it would take.
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

from experiments.command_line import read_flags

Method = Literal["ours", "dense", "peer"]
ARRAYS = {"ours": 0, "dense": 4, "peer": 8}
"""Arrays of samples x codes that a method has at once, to foresee what fits."""
TEMPERATURE = 1.0
PEER = "vector_quantize_pytorch"


@dataclass(frozen=True)
class Settings:
    """Measure LFQ's loss and gradient in three ways, in one run."""

    bits: tuple[int, ...] = (10, 12, 14, 16, 18)
    """Numbers of sign bits."""
    samples: tuple[int, ...] = (256, 1024, 4096)
    """Numbers of positions quantised at once."""
    methods: tuple[Method, ...] = get_args(Method)
    """What to measure."""
    seconds: float = 1.0
    """How long a row is repeated, at least three times."""
    memory_gib: float = 6.0
    """Rows that take more are not run."""
    worker: Method | None = None
    """Measure this one here and print its rows; what the processes are started with."""

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
    if settings.worker:
        for row in _rows(settings.worker, settings):
            print(json.dumps(row), flush=True)
        return
    rows = [
        row
        for bits in settings.bits
        for method in settings.methods
        for row in _in_process(method, bits, settings)
    ]
    print(json.dumps({"temperature": TEMPERATURE, "rows": rows}, indent=1))
    print(table(rows), file=sys.stderr)


def _in_process(method: Method, bits: int, settings: Settings) -> list[dict[str, Any]]:
    """The rows of one method and width, in a process of its own on one core."""
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
    # before jax or torch count the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    measure = {"ours": _ours, "dense": _dense, "peer": _peer}[method]
    rows = []
    for bits in settings.bits:
        for samples in settings.samples:
            foreseen = ARRAYS[method] * samples * 4 * 2**bits / 2**30
            row: dict[str, Any] = {"method": method, "bits": bits, "samples": samples}
            if method == "peer" and importlib.util.find_spec(PEER) is None:
                row["skipped"] = "not installed: pip install -e '.[peers]'"
            else:
                fits = foreseen <= settings.memory_gib
                row |= measure(bits, samples, settings.seconds if fits else 0.0)
                if not fits:
                    row["skipped"] = f"takes about {foreseen:.1f} GiB"
            rows.append(row)
    return rows


def _z(bits: int, samples: int) -> Any:
    import numpy as np

    rng = np.random.default_rng((bits, samples))
    return (0.5 * rng.normal(size=(samples, bits))).astype(np.float32)


def _ours(bits: int, samples: int, seconds: float) -> dict[str, Any]:
    from lfq_jax.quantizers import make

    quantizer = make("lfq", bits=bits, temperature=TEMPERATURE)

    def loss(z: Any) -> Any:
        quantized = quantizer.quantize({}, (), z, training=True)
        return quantized.loss, quantized

    return _of_jax(loss, _z(bits, samples), seconds)


def _dense(bits: int, samples: int, seconds: float) -> dict[str, Any]:
    return _of_jax(functools.partial(dense_loss, bits), _z(bits, samples), seconds)


def dense_loss(bits: int, z: Any) -> Any:
    """LFQ's loss at its default weights, by a softmax over all codes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    shifts = np.arange(bits - 1, -1, -1)
    # made when it runs: as a constant of the program it would take as much again
    codes = ((jnp.arange(1 << bits)[:, None] >> shifts) & 1) * 2.0 - 1.0
    log_p = jax.nn.log_softmax(2.0 * z @ codes.T / TEMPERATURE)
    of_sample = -jnp.mean(jnp.sum(jnp.exp(log_p) * log_p, axis=-1))
    mean = jnp.mean(jnp.exp(log_p), axis=0)
    of_batch = -jnp.sum(jax.scipy.special.xlogy(mean, mean))
    hard = jnp.where(z >= 0, 1.0, -1.0)
    commitment = jnp.mean((z - hard) ** 2)
    return 0.02 * (of_sample - of_batch) + 0.25 * commitment, (hard, of_batch)


def _of_jax(loss: Callable[[Any], Any], z: Any, seconds: float) -> dict[str, Any]:
    import jax

    on_device = jax.numpy.asarray(z)
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    compiled = gradient.lower(on_device).compile()
    analysis: Any = compiled.memory_analysis()
    temporary = analysis.temp_size_in_bytes
    found: dict[str, Any] = {"xla_mib": round(temporary / 2**20, 2)}
    if seconds:
        found |= _measured(lambda: jax.block_until_ready(compiled(on_device)), seconds)
        found["loss"] = round(float(compiled(on_device)[0][0]), 6)
    return found


def _peer(bits: int, samples: int, seconds: float) -> dict[str, Any]:
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

    return _measured(step, seconds) | {"loss": round(step().item(), 6)}


def _measured(step: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Least milliseconds of a step, and how far the process grew in it."""
    before = _reset_peak()
    step()
    grown = _status_mib("VmHWM") - before
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.process_time()
        step()
        times.append(time.process_time() - started)
    return {"milliseconds": round(1e3 * min(times), 3), "grown_mib": round(grown, 1)}


def _reset_peak() -> float:
    """Forget the process' largest size so far, and return its size now in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def _status_mib(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}")


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds and MiB of every method, and how many times ours the others take."""
    by_size: dict[tuple[int, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_size.setdefault((row["bits"], row["samples"]), {})[row["method"]] = row
    methods = [
        m for m in get_args(Method) if any(m in each for each in by_size.values())
    ]
    heads = ["bits", "samples", *(f"{m} ms" for m in methods)]
    heads += [f"{m} MiB" for m in methods]
    if len(methods) > 1:
        heads += [f"{m} / ours, time, memory" for m in methods if m != "ours"]
    lines = [heads, ["---"] * len(heads)]
    for (bits, samples), found in by_size.items():
        got = [found.get(method, {}) for method in methods]
        cells = [str(bits), str(samples)]
        cells += [_cell(row.get("milliseconds")) for row in got]
        cells += [_cell(_memory(row)) for row in got]
        ours = found.get("ours", {})
        for method in methods:
            if method != "ours":
                cells.append(_times(found.get(method, {}), ours))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _memory(row: dict[str, Any]) -> float | None:
    return row.get("xla_mib", row.get("grown_mib"))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _times(row: dict[str, Any], ours: dict[str, Any]) -> str:
    pairs = [
        (row.get("milliseconds"), ours.get("milliseconds")),
        (_memory(row), _memory(ours)),
    ]
    return ", ".join(_cell(a / b) if a and b else "-" for a, b in pairs)


if __name__ == "__main__":
    main()
