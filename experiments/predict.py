"""From a trained run and a folder of photographs to decisions, heat maps and a table.

    python -m experiments.predict --run runs/<id> --images DIR --out DIR

Writes DIR/scores.csv as it goes, DIR/scores.json at the end, DIR/overlays and, on
request, DIR/maps. A photograph that cannot be read is listed, and the others go on.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments.command_line import read_command_line
from experiments.incoming import arriving, check_folder, found_photographs
from experiments.lookout import Lookout
from experiments.run import INTERRUPTED, cache_folder, interruption, keep_compiled
from experiments.score_table import Table
from experiments.scored_image import (
    ANOMALOUS,
    UNREADABLE,
    ImageFiles,
    MapFormat,
    OverlayFormat,
    row_of,
    unreadable_row,
)

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    import numpy as np

    from lfq_jax.inference.detector import Detector

SOME_UNREADABLE = 1  # exit status
BATCH_PIXELS = 32_000_000  # of all photographs in memory at once, unless one has more
UNREADABLE_SHOWN = 5


@dataclass(frozen=True)
class Predict:
    """Score a folder of photographs with a trained run."""

    run: Path | None = None
    """The run's folder: runs/<id>, or that of one of its categories."""
    category: str | None = None
    """Which category's detector, where the run has several."""
    images: Path | None = None
    """The photographs: every image file in this folder and below."""
    out: Path | None = None
    """A new folder for scores, overlays and maps."""
    rule: Literal["auto", "margin", "max_f1", "false_alarm_rate", "labelled"] = "auto"
    """Which of the run's thresholds decides. `auto`: the one the run has in force."""
    overlays: OverlayFormat = "jpg"
    """Heat maps over the photographs, at their own resolution."""
    maps: MapFormat = "none"
    """Raw maps at the photographs' resolution: float32, or 16 bits of probability."""
    tile_px: int | None = None
    """Score photographs in overlapping tiles of this width, for photographs far larger
    than the shots. 0: whole. Default: as calibrated, which is whole at first."""
    watch: bool = False
    """Go on with what arrives in the folder, until Ctrl-C."""
    poll_seconds: float = 0.5
    """How often a watched folder is looked at."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Compiled programs are kept here: the second start is faster."""

    def __post_init__(self) -> None:
        if self.tile_px is not None and self.tile_px != 0 and self.tile_px < 16:
            raise ValueError(f"--tile-px must be 0 or at least 16, got {self.tile_px}")
        if not self.poll_seconds > 0:
            raise ValueError(
                f"--poll-seconds must be positive, got {self.poll_seconds}"
            )


def check_out(out: Path | None, images: Path) -> Path:
    """The output folder, new or empty, away from the photographs.

    Raises:
      ValueError: where it is neither.
    """
    if out is None:
        raise ValueError("--out must name a folder, got none")
    there, source = out.resolve(), images.resolve()
    if there == source or source in there.parents or there in source.parents:
        raise ValueError(
            f"--out {out} must lie apart from --images {images}: what is written would "
            "be read as photographs"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out} already holds something: name a new folder")
    return out


def load_detector(settings: Predict) -> "Detector":
    """The run's detector, with the rule that was asked for in force."""
    if settings.run is None:
        raise ValueError("--run must name a run's folder, got none")
    keep_compiled(settings.cache_dir)
    from lfq_jax.inference.detector import load

    detector = load(settings.run, settings.category)
    if settings.rule == "auto":
        return detector
    return detector.with_thresholds(detector.thresholds.ruled_by(settings.rule))


def _read(path: Path, detector: "Detector") -> "np.ndarray | str":
    """The photograph, or why it cannot be scored."""
    from datasets.images import read_image

    try:
        return detector.rgb(read_image(path, depth=detector.saved.wide_bit_depth))
    except ValueError as error:
        reason = str(error)
        return reason if str(path) in reason else f"{path}: {reason}"


def _chunks(arrivals: Iterable[Path | None], size: int) -> Iterator[list[Path]]:
    """Photographs to be scored together: no more than memory and a batch hold, and no
    waiting for more where none is there (None)."""
    from datasets.images import pixel_count

    waiting: list[Path] = []
    pixels = 0
    for path in arrivals:
        more = pixel_count(path) if path else 0
        full = len(waiting) == size or pixels + more > BATCH_PIXELS
        if waiting and (path is None or full):
            yield waiting
            waiting, pixels = [], 0
        if path:
            waiting.append(path)
            pixels += more
    if waiting:
        yield waiting


def score_all(
    detector: "Detector",
    arrivals: Iterable[Path | None],
    *,
    folder: Path,
    files: ImageFiles,
    tile_px: int,
    on_image: Callable[["np.ndarray"], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """A row for every photograph, in the order of their arrival."""
    thresholds = detector.thresholds
    with ThreadPoolExecutor(2) as pool:
        for paths in _chunks(arrivals, detector.saved.score.batch_size):
            started = time.monotonic()
            names = [path.relative_to(folder).as_posix() for path in paths]
            read = list(pool.map(lambda path: _read(path, detector), paths))
            whole = [i for i, image in enumerate(read) if not isinstance(image, str)]
            images = [_image(read[i]) for i in whole]
            found = dict(zip(whole, _predicted(detector, images, tile_px), strict=True))
            for i, image in zip(whole, images, strict=True):
                on_image(image)
                files.write(
                    names[i],
                    image,
                    found[i],
                    pixel_threshold=thresholds.pixel_threshold,
                )
            seconds = (time.monotonic() - started) / len(paths)
            for i, name in enumerate(names):
                if i in found:
                    yield row_of(
                        name,
                        found[i],
                        threshold=thresholds.image_threshold,
                        seconds=seconds,
                    )
                else:
                    yield unreadable_row(name, str(read[i]))


def _image(read: "np.ndarray | str") -> "np.ndarray":
    assert not isinstance(read, str)
    return read


def _predicted(detector: "Detector", images: list, tile_px: int) -> list:
    return detector(images, tile_px=tile_px) if images else []


def _about(settings: Predict, detector: "Detector", *, tile_px: int) -> dict[str, Any]:
    thresholds = detector.thresholds
    statement = thresholds.image[thresholds.rule].statement
    if tile_px != thresholds.tile_px:
        statement = (
            f"the threshold is one of {_scored_as(thresholds.tile_px)}, and these are "
            f"{_scored_as(tile_px)}: calibrate with --tile-px {tile_px} before you "
            "trust a decision"
        )
        print(f"warning: {statement}", file=sys.stderr)
    return {
        "run": str(settings.run),
        "category": detector.category,
        "rule": thresholds.rule,
        "image_score": thresholds.image_score,
        "threshold": thresholds.image_threshold,
        "pixel_threshold": thresholds.pixel_threshold,
        "statement": statement,
        "tile_px": tile_px,
    }


def _scored_as(tile_px: int) -> str:
    if not tile_px:
        return "photographs as a whole"
    return f"photographs in tiles of {tile_px} px"


class Predicted(NamedTuple):
    """What became of a folder of photographs."""

    table: Table
    left_out: int
    """Photographs that were not come to when it was stopped."""


def predict(settings: Predict) -> Predicted:
    """Score every photograph, or those that there is time for before a stop."""
    from tqdm import tqdm

    folder = check_folder(settings.images, "--images")
    out = check_out(settings.out, folder)
    paths = [] if settings.watch else found_photographs(folder, "--images")
    detector = load_detector(settings)
    tile_px = settings.tile_px
    if tile_px is None:
        tile_px = detector.thresholds.tile_px
    lookout = Lookout(detector, tile_px=tile_px)
    table = Table(out, _about(settings, detector, tile_px=tile_px))
    files = ImageFiles(out, overlays=settings.overlays, maps=settings.maps)
    with interruption() as should_stop:
        if settings.watch:
            print(f"watching {folder}; Ctrl-C ends it", file=sys.stderr)
            arrivals: Iterable[Path | None] = arriving(
                folder, poll_seconds=settings.poll_seconds, should_stop=should_stop
            )
        else:
            arrivals = _until(paths, should_stop)
        rows = score_all(
            detector,
            arrivals,
            folder=folder,
            files=files,
            tile_px=tile_px,
            on_image=lookout.see,
        )
        total = None if settings.watch else len(paths)
        try:
            for row in tqdm(rows, total=total, unit="image", leave=False):
                table.add(row)
                if settings.watch:
                    tqdm.write(_line(row))
        finally:
            table.close()
    lookout.tell()
    left_out = 0 if settings.watch else len(paths) - len(table.rows)
    return Predicted(table, left_out)


def _until(paths: list[Path], should_stop: Callable[[], bool]) -> Iterator[Path]:
    for path in paths:
        if should_stop():
            return
        yield path


def _line(row: dict[str, Any]) -> str:
    said = f"unreadable  {row['file']}: {row['error']}"
    if row["decision"] != UNREADABLE:
        said = f"{row['decision']:<10}  {row['calibrated']:.4f}  {row['file']}"
    return said.encode(errors="backslashreplace").decode()


def _summary(table: Table, out: Path | None) -> str:
    decisions = [row["decision"] for row in table.rows]
    anomalous = decisions.count(ANOMALOUS)
    scored = len(decisions) - decisions.count(UNREADABLE)
    return f"{anomalous} of {scored} photographs are anomalous: {out}/scores.csv"


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit status 1 where a photograph could not be read, 130 where
    it was stopped before the last one."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.predict"
    settings = read_command_line(Predict(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        table, left_out = predict(settings)
    print(_summary(table, settings.out))
    for row in table.unreadable[:UNREADABLE_SHOWN]:
        print(f"unreadable: {row['error']}", file=sys.stderr)
    beyond = len(table.unreadable) - UNREADABLE_SHOWN
    if beyond > 0:
        print(f"unreadable: {beyond} more, see scores.csv", file=sys.stderr)
    if left_out:
        done = len(table.rows)
        print(f"stopped after {done} of {done + left_out} photographs", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    if table.unreadable:
        raise SystemExit(SOME_UNREADABLE)


if __name__ == "__main__":
    main()
