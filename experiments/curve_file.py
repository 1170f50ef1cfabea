"""curves.json: the pixel ROC and PRO curves of a category, thinned for drawing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.shards import write_atomically

if TYPE_CHECKING:
    from datasets.example import Example
    from lfq_jax.curves import Curve
    from lfq_jax.predict import ImagePrediction

POINTS = 200


def write_curves(
    folder: Path,
    examples: "Sequence[Example]",
    predictions: "Sequence[ImagePrediction]",
) -> None:
    """Write `folder`/curves.json, or nothing where one class has no pixels.

    Pixels are compared at each mask's own resolution; a defective image without a mask
    is left out, as in the figures.

    Args:
      folder: the category's; it must exist.
      examples: the test split.
      predictions: one an example, in its order.
    """
    from lfq_jax.curves import pro_curve, roc
    from lfq_jax.evaluation import StreamingPixelMetrics, to_mask_resolution

    gathered = StreamingPixelMetrics()
    for example, prediction in zip(examples, predictions, strict=True):
        if example.label and not example.mask.any():
            continue
        anomaly_map = to_mask_resolution(prediction.map, example.mask.shape)
        gathered.update([anomaly_map], [example.mask])
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
