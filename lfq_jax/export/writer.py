"""Exports a detector to a folder for other programs, and checks its results.

The folder is kept only if its results equal the detector's. export.json and run.py
describe how a photograph becomes the input of the exported graph; run.py needs no code
of this project.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.files import filled_atomically
from lfq_jax.config import ModelConfig
from lfq_jax.export.formats import GRAPH_FILES, WRITERS, Format, Program, open_export
from lfq_jax.inference.detector import Detector
from lfq_jax.inference.detector_files import DetectorRecord, read_validation
from lfq_jax.model.variables import Variables

TOLERANCE = 1e-4
"""Largest allowed float32 difference of a map or score from the detector's."""
SCHEMA_VERSION = 2
_ASSETS = Path(__file__).resolve().parent / "assets"
_MAPS = {
    "lfquiad": "probability of an anomaly",
    "knn": "half the cosine distance from the nearest patch of the shots",
    "subspace": "a quarter of the squared residual outside the shots' subspace",
    "reconstruction": "half the cosine distance from the features' reconstruction",
}
"""What the values of the map are, by the detector's method. All are in [0, 1]."""
_WITH_SCRIPT = ("onnx", "stablehlo")
"""Formats with a script that runs the export without this project."""


class Parity(NamedTuple):
    """Differences between an export and its detector, over all compared images."""

    images: int
    """Number of compared images."""
    map_difference: float
    """Largest difference of a pixel."""
    pixels_beyond: float
    """Share of pixels that differ by more than TOLERANCE."""
    score_difference: float
    """Largest difference of an image score."""
    calibrated_difference: float
    """Largest difference of a calibrated score."""
    decisions_differing: int
    """Number of images with another decision."""
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
        exported = [output[: len(chunk)] for output in program(padded)]
        for i, expected in enumerate(detector(list(chunk), tile_px=0)):
            difference = np.abs(exported[0][i] - expected.heat_map)
            maps.append(difference.max())
            beyond.append(np.mean(difference > TOLERANCE))
            scores.append(abs(float(exported[1][i]) - expected.score))
            calibrated.append(abs(float(exported[2][i]) - expected.calibrated))
            decisions += bool(exported[3][i]) != expected.is_anomalous
            masks.append(np.mean(exported[4][i] != expected.mask))
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
    """Write the folder `out`, complete and checked, or not at all.

    Args:
      detector: the detector to export, with its thresholds.
      source: the detector's folder, which has the images for the comparison.
      out: the folder to write.
      format: the format of the export.
      batch_size: images per call. 0: any number, only for `stablehlo`.
      tolerance: largest allowed difference of a map or a score.

    Raises:
      ValueError: if `source` has no such images, the thresholds are for tiles (an
        export has none), a package is missing, or the export differs by more than
        `tolerance`.
    """
    images = _images_to_compare(detector, source)
    with filled_atomically(out) as partial:
        WRITERS[format](detector, partial, batch_size)
        about = _about(detector, format, batch_size)
        (partial / "export.json").write_text(json.dumps(about, indent=1) + "\n")
        program = open_export(partial)
        found = parity(detector, program, images, batch_size=batch_size)
        text = json.dumps(found._asdict() | {"tolerance": tolerance}, indent=1)
        (partial / "parity.json").write_text(text + "\n")
        _require_parity(found, format=format, tolerance=tolerance)
        if format in _WITH_SCRIPT:
            shutil.copy(_ASSETS / f"run_{format}.py", partial / "run.py")
    return found


def _images_to_compare(detector: Detector, source: Path) -> np.ndarray:
    """The validation images of the detector's folder, if it can be exported."""
    if tile_px := detector.thresholds.tile_px:
        raise ValueError(
            f"the thresholds are those of tiles of {tile_px} px, but an export scores "
            "whole photographs: calibrate with tile_px 0 first"
        )
    images = read_validation(source)
    if not len(images):
        raise ValueError(
            f"{source} has no validation images to check an export with, since it is "
            "an export itself: export from the run"
        )
    return images


def _require_parity(found: Parity, *, format: Format, tolerance: float) -> None:
    worst = float(np.max([found.map_difference, found.score_difference]))
    if not worst <= tolerance:  # also refuses NaN, which max() may lose
        raise ValueError(
            f"the {format} export differs from the detector by {worst:.2g}, more "
            f"than {tolerance:g}, and is not kept. {_summary(found)} A value of the "
            "bottleneck close to 0 may be rounded to the other sign; a larger "
            "tolerance accepts it"
        )


def _summary(found: Parity) -> str:
    return (
        f"Maps differ by {found.map_difference:.2g}, {found.pixels_beyond:.3%} of the "
        f"pixels by more than {TOLERANCE:g}; scores by {found.score_difference:.2g}; "
        f"{found.decisions_differing} of {found.images} decisions."
    )


def _about(detector: Detector, format: Format, batch_size: int) -> dict[str, Any]:
    """The content of export.json: all that a program needs to use the export."""
    saved, thresholds = detector.record, detector.thresholds
    height, width = detector.predictor.size
    return {
        "schema_version": SCHEMA_VERSION,
        "format": format,
        "file": GRAPH_FILES[format],
        "category": saved.category,
        "kind": saved.kind,
        "batch_size": batch_size or "any",
        "preprocessing": {
            "colour": "RGB, 8 bits per value; grey repeated over the three channels",
            "wide_bit_depth": saved.wide_bit_depth,
            "resize_to": {"height": height, "width": width},
            "largest_stretch": detector.predictor.framing.largest_stretch,
            "filter": "mean over areas (Pillow's BOX) where the photograph has at "
            f"least {width} x {height} px, else bilinear (Pillow's BILINEAR)",
        },
        "input": {"images": f"uint8 [batch, {height}, {width}, 3]"},
        "outputs": {
            "map": f"float32 [batch, {height}, {width}]: {_MAPS[saved.method]}; resize "
            "bilinearly (half-pixel centres) to the photograph",
            "score": f"float32 [batch]: {thresholds.image_score} of {_scored(saved)}",
            "calibrated": "float32 [batch]: share of good parts that score lower",
            "is_anomalous": "bool [batch]: score >= image threshold",
            "mask": f"bool [batch, {height}, {width}]: map >= pixel threshold",
        },
        "rule": thresholds.rule,
        "image_threshold": thresholds.image_threshold,
        "pixel_threshold": thresholds.pixel_threshold,
        "statement": thresholds.image[thresholds.rule].statement,
        "image_score": thresholds.image_score,
        "tolerance": TOLERANCE,
    }


def _scored(saved: DetectorRecord) -> str:
    """The map that the image score is computed from."""
    scored = "the map before smoothing"
    if not isinstance(saved.variables, Variables):
        return scored
    assert isinstance(saved.model, ModelConfig)
    config, memory = saved.model.memory_bank, saved.variables.memory_bank
    if config is None or memory is None:
        return scored
    if saved.variables.logistic_head is not None:
        scored = (
            "the map with a weight of "
            f"{config.score_head_weight:g} for the logistic head instead of "
            f"{config.head_weight:g}"
        )
    if saved.variables.score_head is not None:
        scored += ", which is another one, with less weight on the filter bank"
    if memory.orientation is not None:
        scored += ", without the orientation term of textures"
    if memory.deepest is not None:
        scored += "; odds rise with the distance by the backbone's deepest stage"
    return scored
