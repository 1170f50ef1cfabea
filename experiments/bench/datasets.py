"""Measures how fast data sets are prepared and read.

    python -m experiments.bench.datasets

Photographs are rendered, saved as PNG in the layout of MVTec AD, and prepared by the
`folder` builder. Reading them as `Example`s, in order and one by one, is compared with
decoding the same PNGs directly with Pillow. All three read good and defective images
with their masks and take turns; the files are in the page cache. Reading in order
decodes the next images in other threads and is therefore compared by wall-clock time.
Reading one by one uses one thread and is compared by processor time, which other
programs disturb less.
"""

import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments.run.command_line import read_flags


@dataclass(frozen=True)
class Settings:
    """Measure preparation and reading of one category."""

    images: int = 60
    """Number of images: a third for training, a third good, a third defective."""
    image_px: int = 700
    """Side of the images."""
    repetitions: int = 5
    """How often everything is read. Medians are reported."""


def main() -> None:
    """Measure and print one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.datasets")
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    """Write the photographs, prepare and read them, and print the measurements."""
    import datasets

    with tempfile.TemporaryDirectory() as scratch:
        source, cache = Path(scratch, "parts"), Path(scratch, "cache")
        _write(source / "part", settings)
        started = time.perf_counter()
        options = {"data_dir": source, "cache_dir": cache, "progress": False}
        splits = [
            datasets.load("folder", "part", split, kind="object", **options)
            for split in ("train", "test")
        ]
        prepared = time.perf_counter() - started

        def in_order() -> None:
            for split in splits:
                for _ in split:
                    pass

        def one_by_one() -> None:
            for split in splits:
                for i in range(len(split)):
                    split[i]

        def pillow() -> None:
            _decode_with_pillow(source / "part")

        jobs = [in_order, one_by_one, pillow]
        ordered, single, decoded = _seconds(jobs, settings.repetitions)
        count = sum(len(split) for split in splits)
    figures = {
        "images": count,
        "image_px": settings.image_px,
        "prepared_per_second": round(count / prepared, 1),
        "read_in_order_per_second": round(count / ordered.clock, 1),
        "read_one_by_one_per_second": round(count / single.clock, 1),
        "pillow_per_second": round(count / decoded.clock, 1),
        "in_order_over_pillow": round(decoded.clock / ordered.clock, 2),
        "one_by_one_over_pillow": round(decoded.processor / single.processor, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    print(json.dumps(figures, indent=1))


def _write(folder: Path, settings: Settings) -> None:
    """Write photographs with smooth shapes and sensor noise.

    Without noise, PNG files would be decoded faster than those of real photographs.
    """
    import numpy as np
    from PIL import Image
    from scipy import ndimage

    rng = np.random.default_rng(0)
    side = settings.image_px
    third = max(1, settings.images // 3)
    for part in ("train/good", "test/good", "test/dent"):
        (folder / part).mkdir(parents=True)
        for number in range(third):
            grid = rng.normal(128, 40, (9, 9, 3))
            smooth: Any = ndimage.zoom(grid, (side / 9, side / 9, 1), order=1)
            noisy = smooth[:side, :side] + rng.normal(0, 3, (side, side, 3))
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
            image.save(folder / part / f"{number:03d}.png")
    masks = folder / "ground_truth/dent"
    masks.mkdir(parents=True)
    for number in range(third):
        mask = np.zeros((side, side), np.uint8)
        mask[side // 4 : side // 2, side // 3 : side // 2] = 255
        Image.fromarray(mask).save(masks / f"{number:03d}_mask.png")


def _decode_with_pillow(folder: Path) -> None:
    """Decode every image and mask into an array."""
    import numpy as np
    from PIL import Image

    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            np.asarray(image)


class _Seconds(NamedTuple):
    """Time by the wall clock and by the processor."""

    clock: float
    processor: float


def _seconds(jobs: list[Callable[[], None]], repetitions: int) -> list[_Seconds]:
    """Median times of each job. The jobs take turns."""
    taken: list[list[_Seconds]] = [[] for _ in jobs]
    for _ in range(repetitions + 1):
        for job, times in zip(jobs, taken, strict=True):
            clock, processor = time.perf_counter(), time.process_time()
            job()
            times.append(
                _Seconds(time.perf_counter() - clock, time.process_time() - processor)
            )
    # The first round only warms up.
    columns = [zip(*times[1:], strict=True) for times in taken]
    return [_Seconds(*map(statistics.median, column)) for column in columns]


if __name__ == "__main__":
    main()
