"""Set a run's thresholds anew, from photographs of good parts.

    python -m experiments.calibrate --run runs/<id> --good DIR

With --defective DIR too, the largest F1 on both decides.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from experiments.command_line import read_command_line
from experiments.incoming import check_folder, found_photographs
from experiments.run import cache_folder, keep_compiled

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    import numpy as np

    from lfq_jax.calibration.scores import Scores
    from lfq_jax.calibration.thresholds import Thresholds
    from lfq_jax.config import ImageScore
    from lfq_jax.inference.predictor import Predictor
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics


@dataclass(frozen=True)
class Calibrate:
    """Set a run's thresholds anew, from photographs of good parts."""

    run: Path | None = None
    """The run's folder: runs/<id>, or that of one of its categories."""
    category: str | None = None
    """Which category's detector, where the run has several."""
    good: Path | None = None
    """Photographs of good parts that the training has not seen; 19 or more guarantee a
    false-alarm rate of 5 %."""
    defective: Path | None = None
    """Photographs of defective parts, where there are some."""
    masks: Path | None = None
    """Their masks: <stem>.png or <stem>_mask.png, in sub-folders as in --defective."""
    false_alarm_rate: float = 0.05
    """Share of good parts that may be called anomalous."""
    image_score: Literal[
        "auto", "keep", "mean", "max", "top_k_mean", "smoothed_max"
    ] = "keep"
    """What an image's score is. `auto`: the one of the highest AUROC, on --defective or
    else on the training's synthetic anomalies. `keep`: the run's."""
    tile_px: int = 0
    """Width of the tiles that photographs are scored in; 0: whole."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Compiled programs are kept here: the second start is faster."""

    def __post_init__(self) -> None:
        if not 0 < self.false_alarm_rate < 1:
            raise ValueError(
                f"--false-alarm-rate must be in (0, 1), got {self.false_alarm_rate}"
            )
        if self.tile_px != 0 and self.tile_px < 16:
            raise ValueError(f"--tile-px must be 0 or at least 16, got {self.tile_px}")
        if self.masks and not self.defective:
            raise ValueError("--masks needs --defective: masks show defects")


class Scored(NamedTuple):
    """What the networks make of a folder."""

    scores: "Scores"
    pixels: "StreamingPixelMetrics"
    """Of the images whose masks are known."""


def score_folder(
    networks: "Predictor",
    paths: Sequence[Path],
    masks: "Sequence[Path | None] | None",
    *,
    tile_px: int,
    what: str,
) -> Scored:
    """Every score of every photograph, and its pixels where its mask is known.

    Args:
      masks: one a photograph, None where there is none; None for good parts.

    Raises:
      ValueError: where a photograph cannot be read, which might be the one that
        matters, or a mask is of another size or no mask.
    """
    import numpy as np
    from tqdm import tqdm

    from datasets.images import read_image, read_mask_levels
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics, to_mask_resolution
    from lfq_jax.metrics.ground_truth import binarise

    sizes: list[tuple[int, int]] = []

    def photographs() -> "Iterator[np.ndarray]":
        for path in tqdm(paths, desc=what, unit="image", leave=False):
            image = read_image(path, depth=networks.saved.wide_bit_depth)
            sizes.append((image.shape[0], image.shape[1]))
            yield image

    scores: dict[str, list[float]] = {}
    pixels = StreamingPixelMetrics()
    analyses = networks.analyse(photographs(), tile_px=tile_px)
    for i, (path, found) in enumerate(zip(paths, analyses, strict=True)):
        for name, value in found.scores.items():
            scores.setdefault(name, []).append(value)
        mask_path = masks[i] if masks else None
        if masks is not None and mask_path is None:
            continue
        mask = np.zeros(sizes[i], bool)
        if mask_path is not None:
            mask = binarise(read_mask_levels(mask_path), name=str(mask_path))
        if mask.shape != sizes[i]:
            raise ValueError(
                f"{mask_path} must have the size of {path}, {sizes[i]}, "
                f"got {mask.shape}"
            )
        if mask_path is not None and not mask.any():
            continue  # it says nothing of where the defect is
        pixels.update([to_mask_resolution(found.map, sizes[i])], [mask])
    return Scored(scores, pixels)


def masks_of(paths: Sequence[Path], images: Path, masks: Path) -> list[Path | None]:
    """The mask of every photograph, by its place and stem.

    Raises:
      ValueError: where none of them has a mask.
    """
    from datasets.folder.layout import MASK_SUFFIX

    known = {
        path.relative_to(masks).with_name(path.stem.removesuffix(MASK_SUFFIX)): path
        for path in found_photographs(masks, "--masks")
    }
    found = [known.get(path.relative_to(images).with_suffix("")) for path in paths]
    if not any(found):
        raise ValueError(f"--masks {masks} matches no photograph of {images} by stem")
    return found


def calibrate(settings: Calibrate) -> "tuple[Thresholds, Thresholds]":
    """Score the photographs and write the run's thresholds; those before, and now."""
    if settings.run is None:
        raise ValueError("--run must name a run's folder, got none")
    good_paths = found_photographs(settings.good, "--good")
    bad_paths, masks = _defective(settings)
    both = {path.resolve() for path in good_paths} & {p.resolve() for p in bad_paths}
    if both:
        raise ValueError(f"{min(both)} lies in --good and in --defective")
    keep_compiled(settings.cache_dir)
    from lfq_jax.calibration.calibrate import of_photographs
    from lfq_jax.inference.detector_files import (
        read_detector,
        read_thresholds,
        write_thresholds,
    )
    from lfq_jax.inference.predictor import Predictor
    from lfq_jax.inference.run_folder import detector_folder

    folder = detector_folder(settings.run, settings.category)
    before = read_thresholds(folder)
    networks = Predictor(read_detector(folder))
    tile_px = settings.tile_px
    good = score_folder(networks, good_paths, None, tile_px=tile_px, what="good")
    defective, pixel_f1_threshold = None, None
    if bad_paths:
        bad = score_folder(
            networks, bad_paths, masks, tile_px=tile_px, what="defective"
        )
        defective = bad.scores
        if settings.masks:
            good.pixels.merge(bad.pixels)
            found = good.pixels.compute()
            if found.not_computed:
                raise ValueError(
                    f"--masks {settings.masks} gives no pixel threshold: "
                    f"{found.not_computed['pixel_threshold']}"
                )
            pixel_f1_threshold = found.values["pixel_threshold"]
    image_score, reason = _image_score(settings, before, good.scores, defective)
    after = of_photographs(
        before,
        good.scores,
        defective=defective,
        pixel_f1_threshold=pixel_f1_threshold,
        image_score=image_score,
        reason=reason,
        rate=settings.false_alarm_rate,
        tile_px=tile_px,
    )
    write_thresholds(folder, after)
    return before, after


def _defective(settings: Calibrate) -> tuple[list[Path], list[Path | None]]:
    if settings.defective is None:
        return [], []
    paths = found_photographs(settings.defective, "--defective")
    if settings.masks is None:
        return paths, [None] * len(paths)
    masks = check_folder(settings.masks, "--masks").resolve()
    if masks.is_relative_to(settings.defective.resolve()):
        raise ValueError(
            f"--masks {settings.masks} lies in --defective {settings.defective}, where "
            "its masks would be taken for photographs: name folders beside each other"
        )
    return paths, masks_of(paths, settings.defective, settings.masks)


def _image_score(
    settings: Calibrate,
    before: "Thresholds",
    good: "Scores",
    defective: "Scores | None",
) -> "tuple[ImageScore, str]":
    from lfq_jax.calibration.calibrate import chosen_score

    if settings.image_score == "keep":
        return before.image_score, before.image_score_reason
    if settings.image_score != "auto":
        return settings.image_score, "asked for"
    if defective is not None:
        what = "the photographs of the calibration"
        return chosen_score(good, defective, preferred=before.image_score, what=what)
    return chosen_score(
        before.evidence["synthetic_good"],
        before.evidence["synthetic_anomalous"],
        preferred=before.image_score,
        what="the training's synthetic anomalies",
    )


def told(before: "Thresholds", after: "Thresholds") -> str:
    """Both thresholds, and what the new ones promise."""
    lines = [f"image score  {after.image_score}: {after.image_score_reason}"]
    for level in ("image", "pixel"):
        old, new = getattr(before, level), getattr(after, level)
        for rule, threshold in new.items():
            was = f", was {old[rule].value:.4f}" if rule in old else ""
            force = "  in force" if rule == after.rule else ""
            lines.append(f"{level}  {rule:<16}  {threshold.value:.4f}{was}{force}")
            lines.append(f"       {threshold.statement}")
    scores = after.evidence["synthetic_anomalous"].get(after.image_score, [])
    if scores and not after.tile_px:
        found = sum(score >= after.image_threshold for score in scores)
        lines.append(
            f"finds {found} of {len(scores)} synthetic anomalies of the training"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.calibrate"
    settings = read_command_line(Calibrate(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        print(told(*calibrate(settings)))


if __name__ == "__main__":
    main()
