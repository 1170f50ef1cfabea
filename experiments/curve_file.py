"""curves.json: the pixel ROC and PRO curves of a category, thinned for drawing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.files import write_atomically

if TYPE_CHECKING:
    from experiments.truths import Truth
    from lfq_jax.inference.predictor import ImagePrediction
    from lfq_jax.metrics.curves import Curve

POINTS = 200


def write_curves(
    folder: Path,
    truths: "Sequence[Truth]",
    predictions: "Sequence[ImagePrediction]",
) -> None:
    """Write `folder`/curves.json, or nothing where one class has no pixels.

    Pixels are compared at each mask's own resolution; a defective image without a mask
    is left out, as in the figures.

    Args:
      folder: the category's; it must exist.
      truths: of the test split.
      predictions: one a truth, in their order.
    """
    from experiments.truths import compared
    from lfq_jax.metrics.curves import pro_curve, roc
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics

    gathered = StreamingPixelMetrics()
    gathered.update(*compared(truths, predictions))
    counts = gathered.counts()
    if not (counts.normal.any() and counts.anomalous.any()):
        return
    curves = {"pixel_roc": thinned(roc(counts)), "pro": thinned(pro_curve(counts))}
    write_atomically(folder / "curves.json", json.dumps(curves).encode())


def thinned(curve: "Curve", points: int = POINTS) -> list[list[float]]:
    """[x, y] of at most `points` points, even along the curve, both ends kept.

    The curve must rise in x and in y: its length is then measured by x + y.
    """
    along = curve.x + curve.y
    wanted = np.linspace(along[0], along[-1], points)
    kept = np.unique(np.searchsorted(along, wanted).clip(0, len(along) - 1))
    kept = np.union1d(kept, [0, len(along) - 1])
    if len(kept) > points:
        kept = np.delete(kept, 1)
    return [np.round(axis[kept], 6).tolist() for axis in (curve.x, curve.y)]
