"""The metrics of one category, from its predictions and ground truths."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.measure.ground_truths import GroundTruth, compared
from lfq_jax.inference.predictor import RawPrediction
from lfq_jax.metrics.evaluation import BootstrapConfig, Evaluation, evaluate

METRICS = (
    "image_auroc",
    "image_ap",
    "image_f1_max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1_max",
    "pro",
)

NO_MASKS = "no defective test image has a mask"
BOOTSTRAP = BootstrapConfig()
"""How the intervals of a category's metrics are computed."""


class Measured(NamedTuple):
    """All metrics of one category."""

    metrics: dict[str, float | None]
    not_computed: dict[str, str]
    image_auroc_by_score: dict[str, float | None]
    per_defect: dict[str, dict[str, Any]]
    intervals: dict[str, tuple[float, float]]
    """95 % confidence intervals, from a bootstrap over the test images with seed 0."""


def measure(
    truths: Sequence[GroundTruth],
    predictions: Sequence[RawPrediction],
    *,
    image_score: str,
) -> Measured:
    """The metrics of a test split, at each mask's own resolution.

    A defective image without a mask counts in the image metrics, not in the pixel
    metrics.

    Args:
      image_score: name of the score that the image metrics are computed from.
    """
    labels = np.array([truth.label for truth in truths])
    everything = np.ones(len(truths), bool)
    overall = _evaluated(
        truths, predictions, everything, image_score, bootstrap=BOOTSTRAP
    )
    by_score = {}
    for name in predictions[0].scores if predictions else ():
        scores = np.array([prediction.scores[name] for prediction in predictions])
        by_score[name] = evaluate(scores, labels, [], []).image_auroc
    per_defect = {}
    for defect in sorted({truth.defect for truth in truths if truth.label}):
        of_defect = np.array([truth.defect == defect for truth in truths])
        part = _evaluated(truths, predictions, of_defect | (labels == 0), image_score)
        per_defect[defect] = {
            "count": int(of_defect.sum()),
            "image_auroc": part.image_auroc,
            "pixel_auroc": part.pixel_auroc,
            "pro": part.pro,
        }
    return Measured(
        metrics={name: getattr(overall, name) for name in METRICS},
        not_computed=_reasons(overall, truths),
        image_auroc_by_score=by_score,
        per_defect=per_defect,
        intervals={
            name: (low, high) for name, (low, high) in overall.intervals.items()
        },
    )


def _reasons(overall: Evaluation, truths: Sequence[GroundTruth]) -> dict[str, str]:
    """Why metrics are missing, by metric."""
    defective = [truth for truth in truths if truth.label]
    if not defective or any(truth.has_mask for truth in defective):
        return dict(overall.not_computed)
    return {
        name: reason if name.startswith("image") else NO_MASKS
        for name, reason in overall.not_computed.items()
    }


def _evaluated(
    truths: Sequence[GroundTruth],
    predictions: Sequence[RawPrediction],
    chosen: np.ndarray,
    image_score: str,
    *,
    bootstrap: BootstrapConfig | None = None,
) -> Evaluation:
    """The metrics of the images that `chosen`, bool [n], selects."""
    indices = np.flatnonzero(chosen).tolist()
    chosen_truths = [truths[i] for i in indices]
    chosen_predictions = [predictions[i] for i in indices]
    scores = np.array([each.scores[image_score] for each in chosen_predictions])
    labels = np.array([truth.label for truth in chosen_truths])
    maps, masks = compared(chosen_truths, chosen_predictions)
    return evaluate(scores, labels, maps, masks, bootstrap=bootstrap)
