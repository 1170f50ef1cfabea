"""Score a folder of photographs with a trained run.

    python -m experiments.predict --run runs/<id> --images DIR --out DIR

Appends to DIR/scores.csv while it runs and writes DIR/scores.json, DIR/overlays and, if
requested, DIR/maps. What cannot be read, or is no photograph, is listed, and the others
are still scored.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.predict.input_checks import InputCheck
from experiments.predict.outputs import ANOMALOUS, UNREADABLE, ImageFiles
from experiments.predict.scoring import score_all
from experiments.predict.settings import Predict
from experiments.predict.table import Table, read_rows
from experiments.run.command_line import read_command_line
from experiments.run.compile_cache import keep_compiled
from experiments.run.folder import LOCK
from experiments.run.image_folder import arriving, check_folder, listed_photographs

if TYPE_CHECKING:  # these import jax and Pillow, which --help must not wait for
    from datasets.listing import LeftOut
    from lfq_jax.inference.detector import Detector

HOW_TO_RESUME = "the same command with --resume continues"
SOME_UNREADABLE = 1  # exit status
UNREADABLE_SHOWN = 5


class Predicted(NamedTuple):
    """The rows of all scored photographs, and how many were not scored."""

    table: Table
    left_out: int
    """Photographs that were not reached before the command was stopped."""


def predict(settings: Predict) -> Predicted:
    """Score every photograph, or as many as possible before the command is stopped."""
    from datasets.lock import locked_file

    folder = check_folder(settings.images, "--images")
    out = check_out(settings.out, folder, resume=settings.resume)
    paths = [] if settings.watch else _to_score(folder)
    detector = load_detector(settings)
    with locked_file(out / LOCK, what=f"writes to {out}"), _discarded_if_empty(out):
        # Another process may have started meanwhile.
        check_out(out, folder, resume=settings.resume)
        return _predict(settings, detector, paths, folder=folder, out=out)


@contextlib.contextmanager
def _discarded_if_empty(out: Path) -> Iterator[None]:
    """Remove `out` if the block fails before the first row, for the next try."""
    try:
        yield
    except BaseException:
        table = out / "scores.csv"
        if not table.is_file() or table.read_bytes().count(b"\n") < 2:
            for path in (table, table.with_suffix(".json"), out / LOCK):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds overlays
                out.rmdir()
        raise


def _predict(
    settings: Predict,
    detector: "Detector",
    paths: "list[Path | LeftOut]",
    *,
    folder: Path,
    out: Path,
) -> Predicted:
    """Score the photographs in `paths`, or those that arrive in `folder`."""
    from datasets.progress import Bar, is_terminal
    from datasets.stopping import last_words, noted_signals

    tile_px = settings.tile_px
    if tile_px is None:
        tile_px = detector.thresholds.tile_px
    input_check = InputCheck(detector, tile_px=tile_px)
    about = _about(settings, detector, tile_px=tile_px)
    table = Table(out, about, read_rows(out, about) if settings.resume else ())
    files = ImageFiles(out, overlays=settings.overlays, maps=settings.maps)
    done = [row["file"] for row in table.rows]
    if done:
        files.reserve(_names_in(folder, done))
    with last_words(f"stopped; {HOW_TO_RESUME}"), noted_signals() as should_stop:
        rows = score_all(
            detector,
            _arrivals(settings, paths, folder, set(done), should_stop),
            folder=folder,
            files=files,
            tile_px=tile_px,
            on_image=input_check.add,
        )
        bar = Bar(
            rows,
            "scoring",
            total=None if settings.watch else len(paths) - len(set(done)),
            unit="image",
            disable=settings.watch and not is_terminal(sys.stderr),
        )
        try:
            for row in bar:
                table.add(row)
                if settings.watch:
                    bar.write(_line(row))
        finally:
            table.close()
    input_check.finish()
    left_out = 0 if settings.watch else len(paths) - len(table.rows)
    return Predicted(table, left_out)


def _names_in(folder: Path, printed: Iterable[str]) -> list[str]:
    """The names of photographs in `folder` that a table has as printed."""
    from datasets.file_names import printable
    from datasets.listing import list_photographs

    paths = list_photographs(folder).files
    names = (path.relative_to(folder).as_posix() for path in paths)
    name_of = {printable(name): name for name in names}
    return [name_of.get(name, name) for name in printed]


def _arrivals(
    settings: Predict,
    paths: "list[Path | LeftOut]",
    folder: Path,
    done: set[str],
    should_stop: Callable[[], bool],
) -> "Iterator[Path | LeftOut | None]":
    """The photographs to score, without those that an earlier command scored.

    Args:
      done: their names, as they are in the table. A photograph that is written again
        later is scored again.
    """
    if settings.watch:
        print(f"watching {folder}; stop with Ctrl-C", file=sys.stderr)
        found: Iterable[Path | LeftOut | None] = arriving(
            folder, poll_seconds=settings.poll_seconds, should_stop=should_stop
        )
    else:
        found = _until(paths, should_stop)
    from datasets.file_names import printable

    left = set(done)
    for item in found:
        path = item if isinstance(item, Path | None) else item.path
        name = path and printable(path.relative_to(folder).as_posix())
        if name in left:
            left.remove(name)
        else:
            yield item


def check_out(out: Path | None, images: Path, *, resume: bool) -> Path:
    """The output folder: new, empty or resumed, and apart from the photographs.

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
    from datasets.files import is_vacant

    if out.exists() and not (out.is_dir() and (resume or is_vacant(out))):
        raise ValueError(
            f"--out {out} must name a new or an empty folder; {HOW_TO_RESUME}"
        )
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
    """What --watch prints about one photograph."""
    if row["decision"] == UNREADABLE:
        return f"unreadable  {row['file']}: {row['error']}"
    return f"{row['decision']:<10}  {row['calibrated']:.4f}  {row['file']}"


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
        _report_missing(table, left_out)


def _report_missing(table: Table, left_out: int) -> None:
    """Name the photographs without a score, and exit with a status that says so."""
    for row in table.unreadable[:UNREADABLE_SHOWN]:
        print(f"unreadable: {row['error']}", file=sys.stderr)
    more = len(table.unreadable) - UNREADABLE_SHOWN
    if more > 0:
        print(f"unreadable: {more} more, see scores.csv", file=sys.stderr)
    if left_out:
        from datasets.stopping import INTERRUPTED

        done = len(table.rows)
        print(
            f"stopped after {done} of {done + left_out} photographs; {HOW_TO_RESUME}",
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED)
    if table.unreadable:
        raise SystemExit(SOME_UNREADABLE)


if __name__ == "__main__":
    main()
