"""Measures how fast the paper's generator makes anomalies, and its memory.

    python -m experiments.bench.agm --diffusion [--random-weights]

Complete records are measured: outlines, crops, inversion, denoising, blending and
quality checks, in full batches, with the weights that the flags name. Loading is timed
separately.
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
    """Records per second and peak memory of the diffusion generator on this machine.

    Args:
      seconds: shortest time to measure. At least one batch is completed.

    Raises:
      FileNotFoundError: if weights or libraries are missing. Says how to get them.
    """
    from agm_torch.device import placement
    from agm_torch.generator import AnomalyGenerator

    config = dataclasses.replace(config, generator="diffusion")
    place = placement(config.device)
    started = time.perf_counter()
    generator = AnomalyGenerator(config, kind=kind)
    (scene,) = generator.scenes([image], category="bench")
    batch = generator.batch

    def make(number: int) -> int:
        numbers = range(number * batch, (number + 1) * batch)
        rngs = [np.random.default_rng((0, i)) for i in numbers]
        drawn = generator.draw([scene] * batch, rngs)
        return batch + sum(sum(a.provenance["rejects"].values()) for a in drawn)

    make(0)  # loads the weights, and the GPU chooses its kernels
    loaded = time.perf_counter()
    records, paintings = _count_records(make, batch, seconds)
    elapsed = time.perf_counter() - loaded
    return {
        "diffusion_device": _device_name(place.device),
        "diffusion_precision": str(place.dtype).removeprefix("torch."),
        "diffusion_batch": batch,
        "diffusion_steps": config.diffusion.steps,
        "diffusion_load_seconds": round(loaded - started, 1),
        "diffusion_records_per_second": round(records / elapsed, 3),
        "diffusion_paintings_per_second": round(paintings / elapsed, 3),
        "diffusion_peak_memory_mb": round(_peak_memory(place.device) / 1e6),
    }


def _count_records(
    make: Callable[[int], int], batch: int, seconds: float
) -> tuple[int, int]:
    """Records made within `seconds`, and paintings, including the rejected ones.

    Args:
      make: makes the batch of this number and returns its number of paintings.
    """
    number, paintings = 0, 0
    until = time.perf_counter() + seconds
    while number == 0 or time.perf_counter() < until:
        number += 1
        paintings += make(number)
    return number * batch, paintings


def _device_name(device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def _peak_memory(device) -> int:
    """Peak memory in bytes: allocated by torch on a GPU, or resident in the process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
