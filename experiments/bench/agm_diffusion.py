"""How fast the paper's generator makes anomalies, and what memory it takes.

    python -m experiments.bench.agm --diffusion [--random-weights]

Whole records are measured: outlines, crops, inversion, denoising, blending and gates,
in full batches, with the weights that the flags name. Loading is timed apart.
"""

import dataclasses
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from agm_torch.config import GeneratorConfig, Kind


def diffusion_figures(
    image: UInt8[np.ndarray, "h w 3"],
    *,
    config: GeneratorConfig,
    kind: Kind,
    seconds: float,
) -> dict[str, Any]:
    """Records a second and peak memory of the diffusion generator on this machine.

    Args:
      seconds: how long it is measured, at least; one batch always runs to its end.

    Raises:
      FileNotFoundError: weights or libraries are missing. Says how to get them.
    """
    from agm_torch.device import placement
    from agm_torch.generator import AnomalyGenerator

    config = dataclasses.replace(config, generator="diffusion")
    where = placement(config.device)
    started = time.perf_counter()
    generator = AnomalyGenerator(config, kind=kind)
    (scene,) = generator.scenes([image], category="bench")
    batch = generator.batch

    def make(number: int) -> int:
        numbers = range(number * batch, (number + 1) * batch)
        rngs = [np.random.default_rng((0, i)) for i in numbers]
        drawn = generator.draw([scene] * batch, rngs)
        return batch + sum(sum(a.provenance["rejects"].values()) for a in drawn)

    make(0)  # loads, and lets the GPU choose its kernels
    loaded = time.perf_counter()
    records, painted = _counted(make, batch, seconds)
    took = time.perf_counter() - loaded
    return {
        "diffusion_device": _name(where.device),
        "diffusion_precision": str(where.dtype).removeprefix("torch."),
        "diffusion_batch": batch,
        "diffusion_steps": config.diffusion.steps,
        "diffusion_load_seconds": round(loaded - started, 1),
        "diffusion_records_per_second": round(records / took, 3),
        "diffusion_paintings_per_second": round(painted / took, 3),
        "diffusion_peak_memory_mb": round(_peak_memory(where.device) / 1e6),
    }


def _counted(make: Callable[[int], int], batch: int, seconds: float) -> tuple[int, int]:
    """Records made in a time, and draws with those that a gate refused."""
    number, painted = 0, 0
    until = time.perf_counter() + seconds
    while number == 0 or time.perf_counter() < until:
        number += 1
        painted += make(number)
    return number * batch, painted


def _name(device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def _peak_memory(device) -> int:
    """Bytes: what torch allocated on a GPU, or what the process held at most."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
