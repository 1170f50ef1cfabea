"""A detector for other programs: a folder that was compared with it, or none.

How a photograph becomes what an exported graph takes stands in export.json and in
run.py, which needs none of this project's code.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lfq_jax.export.formats import GRAPH_FILES, WRITERS, Format, Program, open_export
from lfq_jax.inference.detector import Detector
from lfq_jax.inference.detector_files import DetectorRecord, read_validation

TOLERANCE = 1e-4
"""Largest difference of a map or a score that an export may have, in float32."""
SCHEMA_VERSION = 1
_ASSETS = Path(__file__).resolve().parent / "assets"


class Parity(NamedTuple):
    """How far an export is from the detector that it was made of."""

    images: int
    map_difference: float
    """Largest of any pixel of any image."""
    pixels_beyond: float
    """Share of pixels that differ by more than TOLERANCE."""
    score_difference: float
    calibrated_difference: float
    decisions_differing: int
    masks_differing: float
    """Share of pixels on the other side of the pixel threshold."""


def parity(
    detector: Detector, program: Program, images: np.ndarray, *, batch_size: int
) -> Parity:
    """Compare an export with its detector, image by image."""
    size = batch_size or 1
    maps, beyond, scores, calibrated, decisions, masks = [], [], [], [], 0, []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), 0)])
        theirs = [each[: len(chunk)] for each in program(padded)]
        for i, ours in enumerate(detector(list(chunk), tile_px=0)):
            difference = np.abs(theirs[0][i] - ours.heat_map)
            maps.append(difference.max())
            beyond.append(np.mean(difference > TOLERANCE))
            scores.append(abs(float(theirs[1][i]) - ours.score))
            calibrated.append(abs(float(theirs[2][i]) - ours.calibrated))
            decisions += bool(theirs[3][i]) != ours.is_anomalous
            masks.append(np.mean(theirs[4][i] != ours.mask))
    return Parity(
        images=len(images),
        map_difference=float(np.max(maps)),
        pixels_beyond=float(np.mean(beyond)),
        score_difference=float(np.max(scores)),
        calibrated_difference=float(np.max(calibrated)),
        decisions_differing=int(decisions),
        masks_differing=float(np.mean(masks)),
    )


def export_detector(
    detector: Detector,
    source: Path,
    out: Path,
    *,
    format: Format,
    batch_size: int = 1,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Write `out`, a folder that is whole and checked, or not there.

    Args:
      detector: what is exported, with its thresholds.
      source: its folder, for the images that the export is compared on.
      batch_size: images a call; 0: any number, of `stablehlo` alone.

    Raises:
      ValueError: where `source` has no such images, its thresholds are of tiles, which
        no export makes, a package is missing, or the export differs by more than
        `tolerance`.
    """
    if tile_px := detector.thresholds.tile_px:
        raise ValueError(
            f"the thresholds are those of tiles of {tile_px} px, and an export scores "
            "photographs as a whole: calibrate with --tile-px 0 first"
        )
    images = read_validation(source)
    if not len(images):
        raise ValueError(
            f"{source} has no validation images to check an export with, for it is an "
            "export itself: export from the run"
        )
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        WRITERS[format](detector, partial, batch_size)
        about = _about(detector, format, batch_size)
        (partial / "export.json").write_text(json.dumps(about, indent=1) + "\n")
        program = open_export(partial)
        found = parity(detector, program, images, batch_size=batch_size)
        text = json.dumps(found._asdict() | {"tolerance": tolerance}, indent=1)
        (partial / "parity.json").write_text(text + "\n")
        worst = float(np.max([found.map_difference, found.score_difference]))
        if not worst <= tolerance:  # also refuses NaN, which max() may lose
            raise ValueError(
                f"the {format} export differs from the detector by {worst:.2g}, more "
                f"than {tolerance:g}, and is not kept. {_told(found)} A code "
                "of the bottleneck that is all but 0 may be rounded to the other "
                "sign; --tolerance accepts more"
            )
        script = _ASSETS / f"run_{format}.py"
        if script.is_file():
            shutil.copy(script, partial / "run.py")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def _told(found: Parity) -> str:
    return (
        f"Maps differ by {found.map_difference:.2g}, {found.pixels_beyond:.3%} of the "
        f"pixels by more than {TOLERANCE:g}; scores by {found.score_difference:.2g}; "
        f"{found.decisions_differing} of {found.images} decisions."
    )


def _about(detector: Detector, format: Format, batch_size: int) -> dict[str, Any]:
    """What a program that knows nothing of this project has to know."""
    saved, thresholds = detector.record, detector.thresholds
    px = detector.predictor.image_px
    return {
        "schema_version": SCHEMA_VERSION,
        "format": format,
        "file": GRAPH_FILES[format],
        "category": saved.category,
        "kind": saved.kind,
        "batch_size": batch_size or "any",
        "preprocessing": {
            "colour": "RGB, 8 bits a value; grey repeated over the three channels",
            "wide_bit_depth": saved.wide_bit_depth,
            "resize_to": [px, px],
            "filter": "mean over areas (Pillow's BOX) where the shorter side is at "
            f"least {px}, else bilinear (Pillow's BILINEAR)",
        },
        "input": {"images": f"uint8 [batch, {px}, {px}, 3]"},
        "outputs": {
            "map": f"float32 [batch, {px}, {px}]: probability of an anomaly; resize "
            "bilinearly (half-pixel centres) to the photograph",
            "score": f"float32 [batch]: {thresholds.image_score} of {_scored(saved)}",
            "calibrated": "float32 [batch]: share of good parts that score lower",
            "is_anomalous": "bool [batch]: score >= image threshold",
            "mask": f"bool [batch, {px}, {px}]: map >= pixel threshold",
        },
        "rule": thresholds.rule,
        "image_threshold": thresholds.image_threshold,
        "pixel_threshold": thresholds.pixel_threshold,
        "statement": thresholds.image[thresholds.rule].statement,
        "image_score": thresholds.image_score,
        "tolerance": TOLERANCE,
    }


def _scored(saved: DetectorRecord) -> str:
    """What the image score is read off."""
    config, memory = saved.model.memory_bank, saved.variables.memory_bank
    said = "the map before it is smoothed"
    if config is None or memory is None:
        return said
    if saved.variables.logistic_head is not None:
        said = (
            "the map as it were with a share of "
            f"{config.score_head_weight:g} for the regression, for {config.head_weight:g}"
        )
    if memory.orientation is not None:
        said += ", without what the way a texture's grain runs adds to it"
    return said
