"""Writes curves.json: a category's pixel ROC and PRO curves, thinned for drawing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.files import write_atomically

if TYPE_CHECKING:
    from experiments.measure.ground_truths import GroundTruth
    from lfq_jax.inference.predictor import RawPrediction
    from lfq_jax.metrics.curves import Curve

POINTS = 200


def write_curves(
    folder: Path,
    truths: "Sequence[GroundTruth]",
    predictions: "Sequence[RawPrediction]",
) -> None:
    """Write `folder`/curves.json.

    Nothing is written if there are no normal or no anomalous pixels. Pixels are
    compared at each mask's resolution. A defective image without a mask is left out, as
    in the metrics.

    Args:
      folder: the category's folder; it must exist.
      truths: ground truths of the test split.
      predictions: one for each ground truth, in the same order.
    """
    from experiments.measure.ground_truths import compared
    from lfq_jax.metrics.curves import pro_curve, roc
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics

    pixels = StreamingPixelMetrics()
    pixels.update(*compared(truths, predictions))
    counts = pixels.counts()
    if not (counts.normal.any() and counts.anomalous.any()):
        return
    curves = {"pixel_roc": thinned(roc(counts)), "pro": thinned(pro_curve(counts))}
    write_atomically(folder / "curves.json", json.dumps(curves).encode())


def thinned(curve: "Curve", points: int = POINTS) -> list[list[float]]:
    """[x, y] of at most `points` points, evenly spaced along the curve, with both ends.

    Neither x nor y may decrease along the curve: x + y then measures its length.
    """
    length = curve.x + curve.y
    even = np.linspace(length[0], length[-1], points)
    kept = np.unique(np.searchsorted(length, even).clip(0, len(length) - 1))
    kept = np.union1d(kept, [0, len(length) - 1])
    if len(kept) > points:
        kept = np.delete(kept, 1)
    return [np.round(axis[kept], 6).tolist() for axis in (curve.x, curve.y)]
