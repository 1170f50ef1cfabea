"""Set the thresholds of a run again, from photographs of good parts.

    python -m experiments.calibrate --run runs/<id> --good DIR

With --defective DIR in addition, the threshold with the largest F1 on both decides.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from agm_torch.cache_folder import cache_folder
from experiments.run.command_line import read_command_line, require_tile_px
from experiments.run.compile_cache import keep_compiled
from experiments.run.different_parts import different_parts
from experiments.run.image_folder import check_folder, found_photographs, print_notes
from lfq_jax.config import ImageScore

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    import numpy as np

    from datasets.mask_pairs import Masks
    from lfq_jax.calibration.scores import Scores
    from lfq_jax.calibration.thresholds import Thresholds
    from lfq_jax.inference.predictor import Predictor
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics


SMALLEST_RATE = 1e-6
"""A guarantee of a lower rate would need more than a million good photographs."""


@dataclass(frozen=True)
class Calibrate:
    """Set the thresholds of a run again, from photographs of good parts."""

    run: Path | None = None
    """The run's folder, runs/<id>, or the folder of one of its categories."""
    category: str | None = None
    """Category of the detector; needed if the run has several."""
    good: Path | None = None
    """Photographs of good parts that were not used in training; 19 or more guarantee a
    false-alarm rate of 5 %."""
    defective: Path | None = None
    """Photographs of defective parts, if there are any."""
    masks: Path | None = None
    """Masks of the defects: <stem>.png, <stem>_mask.png or a folder <stem> of masks, in
    the same sub-folders as in --defective."""
    false_alarm_rate: float = 0.05
    """Share of good parts that may be classified as anomalous."""
    image_score: Literal["auto", "keep", ImageScore] = "keep"
    """Which score an image gets. `keep`: the run's. `auto`: the score with the highest
    AUROC on --defective or, without it, on the training's synthetic anomalies."""
    tile_px: int = 0
    """Width of the tiles in which photographs are scored; 0: score them as a whole."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Folder that keeps compiled programs, which makes the next start faster."""
    yes: bool = False
    """Calibrate even if the good parts score higher than the defective ones."""

    def __post_init__(self) -> None:
        if not SMALLEST_RATE <= self.false_alarm_rate < 1:
            raise ValueError(
                f"--false-alarm-rate must be in [{SMALLEST_RATE:g}, 1), got "
                f"{self.false_alarm_rate}"
            )
        require_tile_px(self.tile_px)
        if self.masks and not self.defective:
            raise ValueError("--masks needs --defective: masks mark defects")


class Scored(NamedTuple):
    """Scores of the photographs of one folder."""

    scores: "Scores"
    pixels: "StreamingPixelMetrics"
    """Pixel counts of the photographs whose masks are known."""


def score_folder(
    predictor: "Predictor",
    paths: Sequence[Path],
    masks: "Sequence[Masks] | None",
    *,
    tile_px: int,
    what: str,
) -> Scored:
    """All scores of every photograph, and its pixels if its mask is known.

    Args:
      predictor: computes the maps and scores.
      paths: the photographs.
      masks: the masks of each photograph; empty if it has none. None instead of the
        sequence means that all photographs show good parts.
      tile_px: width of the tiles; 0 scores photographs as a whole.
      what: name of the progress bar.

    Raises:
      ValueError: if a photograph cannot be read, since it might be an important one; if
        a mask is not a mask or has another size than its photograph.
    """
    from datasets.images import read_image
    from datasets.masks import read_mask
    from datasets.progress import Bar
    from datasets.remarks import Remarks
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics, to_mask_resolution

    sizes: list[tuple[int, int]] = []
    record, remarks = predictor.record, Remarks()

    def photographs() -> "Iterator[np.ndarray]":
        for path in Bar(paths, desc=what, unit="image"):
            image = read_image(
                path,
                depth=record.wide_bit_depth,
                is_known=record.bit_depth > 8,
                remarks=remarks,
            )
            if not tile_px:
                # Refuses an elongated photograph.
                predictor.framing.frame(image.shape, name=str(path))
            sizes.append((image.shape[0], image.shape[1]))
            yield image

    scores: dict[str, list[float]] = {}
    pixels = StreamingPixelMetrics()
    predictions = predictor.predict(photographs(), tile_px=tile_px)
    for i, (path, raw) in enumerate(zip(paths, predictions, strict=True)):
        for name, value in raw.calibration_scores.items():
            scores.setdefault(name, []).append(value)
        mask_paths = masks[i] if masks else ()
        if masks is not None and not mask_paths:
            continue
        mask = read_mask(mask_paths, path, sizes[i], remarks=remarks)
        if mask_paths and not mask.any():
            continue  # an empty mask does not show where the defect is
        pixels.update([to_mask_resolution(raw.map, sizes[i])], [mask])
    print_notes(remarks.lines())
    return Scored(scores, pixels)


def masks_of(paths: Sequence[Path], images: Path, masks: Path) -> "list[Masks]":
    """The masks of every photograph, paired by `datasets.mask_pairs.pair_masks`.

    Prints what is not read.

    Raises:
      ValueError: if no photograph has a mask, or a mask has no photograph.
    """
    from datasets.listing import keyed_by_stem, list_masks
    from datasets.mask_pairs import pair_masks

    photographs = keyed_by_stem(paths, images)
    listing = list_masks(masks)
    found = pair_masks(photographs, listing, among=images)
    if not found:
        raise ValueError(f"--masks {masks} holds no mask that Pillow reads")
    print_notes(listing.notes())
    return [found.get(key, ()) for key in photographs]


def calibrate(settings: Calibrate) -> "tuple[Thresholds, Thresholds]":
    """Score the photographs and write new thresholds into the run.

    Returns:
      The previous thresholds and the new ones.
    """
    if settings.run is None:
        raise ValueError("--run must name a run's folder, got none")
    good_paths = found_photographs(settings.good, "--good")
    bad_paths, masks = _defective(settings)
    _require_apart(good_paths, bad_paths)
    keep_compiled(settings.cache_dir)
    from lfq_jax.calibration.calibrate import thresholds_from_photographs
    from lfq_jax.inference.detector_files import (
        read_detector,
        read_thresholds,
        write_thresholds,
    )
    from lfq_jax.inference.predictor import Predictor
    from lfq_jax.inference.run_folder import detector_folder

    folder = detector_folder(settings.run, settings.category)
    before = read_thresholds(folder)
    predictor = Predictor(read_detector(folder))
    good_paths, bad_paths, masks = different_parts(
        predictor.record, good_paths, bad_paths, masks
    )
    tile_px = settings.tile_px
    scored = score_folder(predictor, good_paths, None, tile_px=tile_px, what="good")
    good, defective, pixel_f1_threshold = scored.scores, None, None
    if bad_paths:
        bad = score_folder(
            predictor, bad_paths, masks, tile_px=tile_px, what="defective"
        )
        defective = bad.scores
        if settings.masks:
            scored.pixels.merge(bad.pixels)
            pixel_f1_threshold = _pixel_f1_threshold(scored.pixels, settings.masks)
    image_score, reason = _image_score(settings, before, good, defective)
    if defective is not None and not settings.yes:
        _require_order(good[image_score], defective[image_score], image_score)
    after = thresholds_from_photographs(
        before,
        good,
        defective=defective,
        pixel_f1_threshold=pixel_f1_threshold,
        image_score=image_score,
        reason=reason,
        rate=settings.false_alarm_rate,
        tile_px=tile_px,
    )
    write_thresholds(folder, after)
    return before, after


def _require_apart(good: Sequence[Path], defective: Sequence[Path]) -> None:
    """Refuse a file that lies in both folders."""
    both = {path.resolve() for path in good} & {path.resolve() for path in defective}
    if both:
        raise ValueError(f"{min(both)} lies in --good and in --defective")


def _require_order(
    good: Sequence[float], defective: Sequence[float], name: str
) -> None:
    """Refuse scores that are the wrong way round by more than chance."""
    from lfq_jax.calibration.calibrate import image_auroc, lowest_chance_auroc

    auroc = image_auroc(good, defective)
    least = lowest_chance_auroc(len(good), len(defective))
    if auroc <= least:
        raise ValueError(
            f"--good scores higher than --defective: the AUROC of {name} is "
            f"{auroc:.3f}, and chance stays above {least:.3f}. If the folders are not "
            "swapped, --yes calibrates nevertheless"
        )


def _pixel_f1_threshold(pixels: "StreamingPixelMetrics", masks: Path) -> float:
    """The threshold with the largest F1 over all pixels whose mask is known."""
    result = pixels.compute()
    if result.not_computed:
        raise ValueError(
            f"--masks {masks} gives no pixel threshold: "
            f"{result.not_computed['pixel_threshold']}"
        )
    return result.values["pixel_threshold"]


def _defective(settings: Calibrate) -> "tuple[list[Path], list[Masks]]":
    """The photographs of defective parts, and the masks of each."""
    if settings.defective is None:
        return [], []
    folder = check_folder(settings.defective, "--defective")
    if settings.masks is None:
        paths = found_photographs(folder, "--defective")
        return paths, [()] * len(paths)
    masks = check_folder(settings.masks, "--masks").resolve()
    if masks.is_relative_to(folder.resolve()):
        raise ValueError(
            f"--masks {settings.masks} lies in --defective {settings.defective}, where "
            "its masks would be read as photographs: use separate folders"
        )
    paths = found_photographs(folder, "--defective")
    return paths, masks_of(paths, folder, settings.masks)


def _image_score(
    settings: Calibrate,
    before: "Thresholds",
    good: "Scores",
    defective: "Scores | None",
) -> "tuple[ImageScore, str]":
    """The image score to use, and the reason for it."""
    from lfq_jax.calibration.calibrate import chosen_score

    if settings.image_score == "keep":
        return before.image_score, before.image_score_reason
    if settings.image_score != "auto":
        return settings.image_score, "as requested"
    if defective is not None:
        what = "the photographs of the calibration"
        return chosen_score(good, defective, preferred=before.image_score, what=what)
    anomalous = before.calibration_scores["synthetic_anomalous"]
    if not any(anomalous.values()):
        raise ValueError(
            "--image-score auto needs --defective: this detector was fitted without "
            "synthetic anomalies"
        )
    return chosen_score(
        before.calibration_scores["synthetic_good"],
        anomalous,
        preferred=before.image_score,
        what="the training's synthetic anomalies",
    )


def summary(before: "Thresholds", after: "Thresholds") -> str:
    """The new thresholds and their statements, with the previous thresholds."""
    lines = [f"image score  {after.image_score}: {after.image_score_reason}"]
    for level in ("image", "pixel"):
        old, new = getattr(before, level), getattr(after, level)
        for rule, threshold in new.items():
            previous = f", was {old[rule].value:.4f}" if rule in old else ""
            active = "  in force" if rule == after.rule else ""
            lines.append(
                f"{level}  {rule:<16}  {threshold.value:.4f}{previous}{active}"
            )
            lines.append(f"       {threshold.statement}")
    scores = after.calibration_scores["synthetic_anomalous"].get(after.image_score, [])
    if scores and not after.tile_px:
        detected = sum(score >= after.image_threshold for score in scores)
        lines.append(
            f"detects {detected} of {len(scores)} synthetic anomalies of the training"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: write the thresholds and print them."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.calibrate"
    settings = read_command_line(Calibrate(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        with _one_at_a_time(settings.run):
            print(summary(*calibrate(settings)))


@contextlib.contextmanager
def _one_at_a_time(run: Path | None) -> Iterator[None]:
    """Wait for another process that calibrates the run: both would read the old file.

    A run that cannot be found is left to the checks of `calibrate`.
    """
    from datasets.lock import locked_file

    if run is None or not run.is_dir():
        yield
        return
    with locked_file(run / ".calibrate.lock", what=f"calibrates {run}"):
        yield


if __name__ == "__main__":
    main()
