"""Score a folder of photographs with a trained run.

    python -m experiments.predict --run runs/<id> --images DIR --out DIR

Appends to DIR/scores.csv while it runs and writes DIR/scores.json, DIR/overlays and, if
requested, DIR/maps. What cannot be read, or is no photograph, is listed, and the others
are still scored.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.predict.input_checks import InputCheck
from experiments.predict.outputs import ANOMALOUS, UNREADABLE, ImageFiles
from experiments.predict.scoring import score_all
from experiments.predict.settings import Predict
from experiments.predict.table import Table
from experiments.run.command_line import read_command_line
from experiments.run.compile_cache import keep_compiled
from experiments.run.image_folder import arriving, check_folder, listed_photographs
from experiments.run.interruption import INTERRUPTED, interruption

if TYPE_CHECKING:  # these import jax and Pillow, which --help must not wait for
    from datasets.listing import LeftOut
    from lfq_jax.inference.detector import Detector

SOME_UNREADABLE = 1  # exit status
UNREADABLE_SHOWN = 5


class Predicted(NamedTuple):
    """The rows of all scored photographs, and how many were not scored."""

    table: Table
    left_out: int
    """Photographs that were not reached before the command was stopped."""


def predict(settings: Predict) -> Predicted:
    """Score every photograph, or as many as possible before the command is stopped."""
    from tqdm import tqdm

    folder = check_folder(settings.images, "--images")
    out = check_out(settings.out, folder)
    paths = [] if settings.watch else _to_score(folder)
    detector = load_detector(settings)
    tile_px = settings.tile_px
    if tile_px is None:
        tile_px = detector.thresholds.tile_px
    input_check = InputCheck(detector, tile_px=tile_px)
    table = Table(out, _about(settings, detector, tile_px=tile_px))
    files = ImageFiles(out, overlays=settings.overlays, maps=settings.maps)
    with interruption() as should_stop:
        if settings.watch:
            print(f"watching {folder}; stop with Ctrl-C", file=sys.stderr)
            arrivals: Iterable[Path | LeftOut | None] = arriving(
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
            on_image=input_check.add,
        )
        total = None if settings.watch else len(paths)
        try:
            for row in tqdm(rows, total=total, unit="image", leave=False):
                table.add(row)
                if settings.watch:
                    tqdm.write(_line(row))
        finally:
            table.close()
    input_check.finish()
    left_out = 0 if settings.watch else len(paths) - len(table.rows)
    return Predicted(table, left_out)


def check_out(out: Path | None, images: Path) -> Path:
    """The output folder: new or empty, and apart from the photographs.

    Raises:
      ValueError: if it is neither, or no folder was named.
    """
    if out is None:
        raise ValueError("--out must name a folder, got none")
    target, source = out.resolve(), images.resolve()
    if target == source or source in target.parents or target in source.parents:
        raise ValueError(
            f"--out {out} must lie apart from --images {images}: the written files "
            "would be read as photographs"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out} must name a new or an empty folder")
    return out


def load_detector(settings: Predict) -> "Detector":
    """The run's detector, with the threshold rule that the settings name."""
    if settings.run is None:
        raise ValueError("--run must name a run's folder, got none")
    keep_compiled(settings.cache_dir)
    from lfq_jax.inference.detector import load

    detector = load(settings.run, settings.category)
    if settings.rule == "auto":
        return detector
    return detector.with_thresholds(detector.thresholds.ruled_by(settings.rule))


def _about(settings: Predict, detector: "Detector", *, tile_px: int) -> dict[str, Any]:
    """What scores.json states besides the rows.

    Warns if the threshold was set on photographs that were tiled in another way.
    """
    thresholds = detector.thresholds
    statement = thresholds.image[thresholds.rule].statement
    if tile_px != thresholds.tile_px:
        statement = (
            f"the threshold was set on photographs scored {_tiled(thresholds.tile_px)},"
            f" but these are scored {_tiled(tile_px)}: calibrate with --tile-px "
            f"{tile_px} before you trust a decision"
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


def _tiled(tile_px: int) -> str:
    return f"in tiles of {tile_px} px" if tile_px else "as a whole"


def _to_score(folder: Path) -> "list[Path | LeftOut]":
    """The photographs of a folder and what cannot be used, sorted by path."""
    listing = listed_photographs(folder, "--images")
    found = [(path, path) for path in listing.files]
    found += [(item.path, item) for item in listing.unreadable]
    return [item for _, item in sorted(found, key=lambda pair: pair[0])]


def _until(
    paths: "list[Path | LeftOut]", should_stop: Callable[[], bool]
) -> "Iterator[Path | LeftOut]":
    for path in paths:
        if should_stop():
            return
        yield path


def _line(row: dict[str, Any]) -> str:
    """What --watch prints about one photograph; bytes that are not text are escaped."""
    if row["decision"] == UNREADABLE:
        line = f"unreadable  {row['file']}: {row['error']}"
    else:
        line = f"{row['decision']:<10}  {row['calibrated']:.4f}  {row['file']}"
    return line.encode(errors="backslashreplace").decode()


def _summary(table: Table, out: Path | None) -> str:
    decisions = [row["decision"] for row in table.rows]
    anomalous = decisions.count(ANOMALOUS)
    scored = len(decisions) - decisions.count(UNREADABLE)
    return f"{anomalous} of {scored} photographs are anomalous: {out}/scores.csv"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Exit status 1: a photograph could not be read. Exit status 130: the command was
    stopped before the last photograph.
    """
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.predict"
    settings = read_command_line(Predict(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        table, left_out = predict(settings)
    print(_summary(table, settings.out))
    for row in table.unreadable[:UNREADABLE_SHOWN]:
        print(f"unreadable: {row['error']}", file=sys.stderr)
    more = len(table.unreadable) - UNREADABLE_SHOWN
    if more > 0:
        print(f"unreadable: {more} more, see scores.csv", file=sys.stderr)
    if left_out:
        done = len(table.rows)
        print(f"stopped after {done} of {done + left_out} photographs", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    if table.unreadable:
        raise SystemExit(SOME_UNREADABLE)


if __name__ == "__main__":
    main()
