"""Scores photographs in batches and yields one row of the table for each."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.predict.outputs import ImageFiles, row_of, unreadable_row
from experiments.run.image_folder import print_notes

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    import numpy as np

    from datasets.listing import LeftOut
    from datasets.remarks import Remarks
    from lfq_jax.inference.detector import Detector, Prediction

BATCH_PIXELS = 32_000_000
"""Most pixels of all photographs of a batch; one larger photograph is a batch alone."""


def score_all(
    detector: "Detector",
    arrivals: "Iterable[Path | LeftOut | None]",
    *,
    folder: Path,
    files: ImageFiles,
    tile_px: int,
    on_image: Callable[["np.ndarray"], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """One row for each photograph, in the order of their arrival.

    Args:
      detector: the detector that scores them.
      arrivals: photographs, and what cannot be used with its reason. None means that
        no more is waiting at the moment.
      folder: the folder that the names in the rows are relative to.
      files: writes the overlays and maps.
      tile_px: width of the tiles; 0 scores photographs as a whole.
      on_image: called with every photograph that could be read.
    """
    from datasets.remarks import Remarks

    thresholds = detector.thresholds
    remarks = Remarks(lambda line: print_notes([line]))
    with ThreadPoolExecutor(2) as pool:
        for batch in _batches(arrivals, detector.record.score.batch_size):
            started = time.monotonic()
            paths = [item if isinstance(item, Path) else item.path for item in batch]
            names = [path.relative_to(folder).as_posix() for path in paths]
            images: dict[str, np.ndarray] = {}
            errors: dict[str, str] = {}
            loaded = pool.map(
                lambda item: _load(item, detector, remarks, tile_px), batch
            )
            for name, image in zip(names, list(loaded), strict=True):
                if isinstance(image, str):
                    errors[name] = image
                else:
                    images[name] = image
            predictions = _predictions(detector, images, tile_px)
            for name, image in images.items():
                on_image(image)
                files.write(
                    name,
                    image,
                    predictions[name],
                    pixel_threshold=thresholds.pixel_threshold,
                )
            seconds = (time.monotonic() - started) / len(paths)
            for name in names:
                if name in errors:
                    yield unreadable_row(name, errors[name])
                else:
                    yield row_of(
                        name,
                        predictions[name],
                        threshold=thresholds.image_threshold,
                        seconds=seconds,
                    )


def _batches(
    arrivals: "Iterable[Path | LeftOut | None]", size: int
) -> "Iterator[list[Path | LeftOut]]":
    """Photographs to score together, at most `size` and within BATCH_PIXELS.

    A batch is also complete when nothing more is waiting (None in `arrivals`).
    """
    from datasets.images import pixel_count

    batch: list[Path | LeftOut] = []
    batch_pixels = 0
    for path in arrivals:
        pixels = pixel_count(path) if isinstance(path, Path) else 0
        is_full = len(batch) == size or batch_pixels + pixels > BATCH_PIXELS
        if batch and (path is None or is_full):
            yield batch
            batch, batch_pixels = [], 0
        if path:
            batch.append(path)
            batch_pixels += pixels
    if batch:
        yield batch


def _load(
    path: "Path | LeftOut", detector: "Detector", remarks: "Remarks", tile_px: int
) -> "np.ndarray | str":
    """The photograph, or the reason why it cannot be scored."""
    from datasets.images import read_image

    if not isinstance(path, Path):
        return f"{path.path}: {path.reason}"
    record = detector.record
    try:
        image = read_image(
            path,
            depth=record.wide_bit_depth,
            is_known=record.bit_depth > 8,
            remarks=remarks,
        )
        image = detector.rgb(image)
        if not tile_px:
            # Refuses an elongated photograph.
            detector.predictor.framing.frame(image.shape, name=str(path))
        return image
    except ValueError as error:
        reason = str(error)
        return reason if str(path) in reason else f"{path}: {reason}"


def _predictions(
    detector: "Detector", images: "dict[str, np.ndarray]", tile_px: int
) -> "dict[str, Prediction]":
    """The predictions by name; empty if no image could be read."""
    if not images:
        return {}
    predictions = detector.predict_rgb(list(images.values()), tile_px=tile_px)
    return dict(zip(images, predictions, strict=True))
