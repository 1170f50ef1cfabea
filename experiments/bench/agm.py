"""Measures how fast anomalies are made and how fast shards are written and read.

    python -m experiments.bench.agm

The generator without weights is compared with a direct implementation of DRAEM's
loader, both on one core. The loader makes Perlin noise from the four corners of every
pixel, rotates it, applies three of nine photometric changes to a texture, and blends.
It is written here with numpy, scipy and Pillow, as published implementations are. With
`--diffusion` the paper's generator is measured too: see `agm_diffusion.py`.
"""

import dataclasses
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agm_torch.config import GeneratorConfig, Kind
from experiments.run.command_line import read_flags


@dataclass(frozen=True)
class Settings:
    """Measure the generator without weights, and the shards."""

    image_px: int = 256
    """Side of the images."""
    seconds: float = 5.0
    """Seconds for which each generator is measured."""
    shard_mb: int = 256
    """Megabytes to write and read."""
    kind: Kind = "object"
    """Kind of the part that the generator is given."""
    diffusion: bool = False
    """Also measure the generator with Stable Diffusion. Needs a GPU and weights."""
    random_weights: bool = False
    """With --diffusion: use random weights in the sizes of Stable Diffusion v1-4, which
    take the same time. 2.1 GB are written to a temporary folder. Masks are made without
    weights, and low contrast is not rejected."""
    agm: GeneratorConfig = field(default_factory=GeneratorConfig)
    """With --diffusion: the models, their device and their options."""


def main() -> None:
    """Measure and print one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.agm")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # measures one core; must precede the import of numpy
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    """Measure and print. numpy's number of threads must be set before."""
    rate = _rate(_generator(settings), settings.seconds)
    draem_rate = _rate(_draem_style(settings.image_px), settings.seconds)
    figures = {
        "image_px": settings.image_px,
        "kind": settings.kind,
        "records_per_second": round(rate, 1),
        "draem_style_records_per_second": round(draem_rate, 1),
        **_shards(settings),
    }
    if settings.diffusion:
        figures |= _diffusion(settings)
    print(json.dumps(figures, indent=1))


def _diffusion(settings: Settings) -> dict[str, Any]:
    """Measurements of the paper's generator, with models from the flags or random."""
    from experiments.bench.agm_diffusion import diffusion_figures

    measure = functools.partial(
        diffusion_figures,
        _photograph(settings.image_px),
        kind=settings.kind,
        seconds=settings.seconds,
    )
    if not settings.random_weights:
        return measure(config=settings.agm)
    from experiments.bench.random_stable_diffusion import save_random_stable_diffusion

    with tempfile.TemporaryDirectory() as scratch:
        folder = save_random_stable_diffusion(Path(scratch) / "sd")
        model = dataclasses.replace(settings.agm.diffusion, model=str(folder))
        masks = "foreground" if settings.agm.masks == "auto" else settings.agm.masks
        config = dataclasses.replace(
            settings.agm, diffusion=model, masks=masks, min_contrast=0.0
        )
        return measure(config=config) | {"diffusion_weights": "random"}


def _rate(make: Callable[[int], object], seconds: float) -> float:
    """Records per second of one core's time, after ten records to warm up."""
    for number in range(10):
        make(number)
    started, number = time.process_time(), 0
    while time.process_time() - started < seconds:
        make(number)
        number += 1
    return number / (time.process_time() - started)


def _photograph(px: int):
    """A picture of a dark, grainy disc on a light table: u8[px px 3]."""
    import numpy as np

    rng = np.random.default_rng(0)
    y, x = np.indices((px, px)) / px - 0.5
    image = np.where(np.hypot(x, y)[..., None] < 0.33, 90.0, 190.0)
    image = image * (1 + 0.2 * x[..., None]) + rng.normal(0, 6, (px, px, 3))
    return image.clip(0, 255).astype(np.uint8)


def _generator(settings: Settings) -> Callable[[int], object]:
    """A function that makes one anomaly with our generator."""
    import numpy as np

    from agm_torch.generator import AnomalyGenerator

    generator = AnomalyGenerator(kind=settings.kind)
    image = _photograph(settings.image_px)
    (scene,) = generator.scenes([image], category="bench")
    return lambda i: generator.draw([scene], [np.random.default_rng((0, i))])


def _draem_style(px: int) -> Callable[[int], tuple[Any, Any]]:
    """A function that makes one anomalous image as DRAEM's loader does."""
    import numpy as np

    image = _photograph(px)
    texture = np.random.default_rng(1).integers(0, 256, (2 * px, 2 * px, 3), np.uint8)

    def make(number: int):
        rng = np.random.default_rng(number)
        while True:
            noise = _rotated(_corner_perlin(px, rng), rng.uniform(-90, 90))
            mask = (noise > 0.5).astype(np.float32)[..., None]
            if mask.any():
                break
        source = _photometric_changes(texture, px, rng).astype(np.float32) / 255
        beta = rng.uniform(0, 0.8)
        normal = image.astype(np.float32) / 255
        mixed = normal * (1 - mask) + mask * ((1 - beta) * source + beta * normal)
        return (mixed * 255).astype(np.uint8), mask

    return make


def _corner_perlin(px: int, rng):
    """Perlin noise, computed from four corner products on the full grid."""
    import numpy as np

    down, across = (int(2 ** rng.integers(0, 6)) for _ in range(2))
    y, x = np.meshgrid(
        np.arange(px) * down / px, np.arange(px) * across / px, indexing="ij"
    )
    angles = rng.uniform(0, 2 * np.pi, (down + 1, across + 1))
    gradients = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    row, column = y.astype(int), x.astype(int)
    v, u = y - row, x - column

    def corner(i: int, j: int):
        gradient = gradients[row + i, column + j]
        return gradient[..., 0] * (v - i) + gradient[..., 1] * (u - j)

    fade_v, fade_u = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (v, u))
    upper = corner(0, 0) * (1 - fade_u) + corner(0, 1) * fade_u
    lower = corner(1, 0) * (1 - fade_u) + corner(1, 1) * fade_u
    return np.sqrt(2) * (upper * (1 - fade_v) + lower * fade_v)


def _rotated(noise, degrees: float):
    from scipy import ndimage

    return ndimage.rotate(noise, degrees, reshape=False, order=1)


def _photometric_changes(texture, px: int, rng):
    """The texture resized and changed by three of nine photometric operations."""
    import numpy as np
    from PIL import Image, ImageEnhance, ImageOps

    picture = Image.fromarray(texture).resize((px, px), Image.Resampling.BILINEAR)
    gamma = float(np.exp(rng.uniform(-0.7, 0.7)))
    table = [round(255 * (i / 255) ** gamma) for i in range(256)] * 3
    changes: list[Callable[[Image.Image], Image.Image]] = [
        lambda p: p.point(table),
        lambda p: ImageEnhance.Brightness(p).enhance(rng.uniform(0.8, 1.2)),
        lambda p: ImageEnhance.Sharpness(p).enhance(rng.uniform(0, 2)),
        lambda p: ImageEnhance.Color(p).enhance(rng.uniform(0, 2)),
        lambda p: ImageOps.solarize(p, int(rng.integers(32, 128))),
        lambda p: ImageOps.posterize(p, int(rng.integers(2, 8))),
        ImageOps.invert,
        ImageOps.autocontrast,
        lambda p: p.rotate(rng.uniform(-45, 45), Image.Resampling.BILINEAR),
    ]
    for choice in rng.choice(len(changes), 3, replace=False):
        picture = changes[choice](picture)
    return np.asarray(picture)


def _shards(settings: Settings) -> dict[str, float]:
    """MB/s of writing, of verifying, and of reading every byte from the page cache."""
    import numpy as np

    from datasets.shards import Records, ShardWriter, open_shards

    px, per_shard = settings.image_px, 64
    shard_bytes = per_shard * px * px * 4
    count = per_shard * max(1, settings.shard_mb * 10**6 // shard_bytes)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (per_shard, px, px, 3), np.uint8)
    records = Records(
        images, images[..., 0], np.zeros(per_shard, np.int32), [{}] * per_shard
    )
    with tempfile.TemporaryDirectory() as scratch:
        writer = ShardWriter(
            Path(scratch) / "key", count=count, records_per_shard=per_shard
        )
        started = time.perf_counter()
        for shard in range(writer.shard_count):
            writer.write(shard, records)
        folder = writer.finish(images[:1], {})
        written = time.perf_counter()
        open_shards(folder)
        verified = time.perf_counter()
        shards = open_shards(folder)
        opened = time.perf_counter()
        for part in shards.parts:
            part.images.reshape(-1).view(np.uint64).sum()
            part.masks.reshape(-1).view(np.uint64).sum()
        read = time.perf_counter()
    megabytes = count * px * px * 4 / 10**6
    return {
        "shard_mb": round(megabytes, 1),
        "write_and_sync_mb_per_second": round(megabytes / (written - started), 1),
        "verify_mb_per_second": round(megabytes / (verified - written), 1),
        "open_verified_ms": round(1000 * (opened - verified), 2),
        "read_mb_per_second": round(megabytes / (read - opened), 1),
    }


if __name__ == "__main__":
    main()
