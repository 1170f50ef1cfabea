"""From one category's predictions to one line of results.jsonl."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.truths import Truth, compared
from lfq_jax.inference.predictor import ImagePrediction
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


class Measured(NamedTuple):
    """All figures of one category."""

    metrics: dict[str, float | None]
    not_computed: dict[str, str]
    image_auroc_by_score: dict[str, float | None]
    per_defect: dict[str, dict[str, Any]]
    intervals: dict[str, tuple[float, float]]
    """95 % confidence intervals by a bootstrap over the test images, seed 0."""


def measure(
    truths: Sequence[Truth],
    predictions: Sequence[ImagePrediction],
    *,
    image_score: str,
) -> Measured:
    """Figures over a test split, at each mask's own resolution.

    A defective image without a mask counts for the image's figures and is left out of
    the pixels'.
    """
    scores = np.array([p.scores[image_score] for p in predictions])
    labels = np.array([truth.label for truth in truths])

    def over(
        chosen: np.ndarray, *, bootstrap: BootstrapConfig | None = None
    ) -> Evaluation:
        some = np.flatnonzero(chosen).tolist()
        maps, masks = compared(
            [truths[i] for i in some], [predictions[i] for i in some]
        )
        return evaluate(
            scores[chosen], labels[chosen], maps, masks, bootstrap=bootstrap
        )

    everything = np.ones(len(truths), bool)
    found = over(everything, bootstrap=BootstrapConfig())
    by_score = {}
    for name in predictions[0].scores if predictions else ():
        of_name = np.array([p.scores[name] for p in predictions])
        by_score[name] = evaluate(of_name, labels, [], []).image_auroc
    per_defect = {}
    for defect in sorted({truth.defect for truth in truths if truth.label}):
        of_defect = np.array([truth.defect == defect for truth in truths])
        part = over(of_defect | (labels == 0))
        per_defect[defect] = {
            "count": int(of_defect.sum()),
            "image_auroc": part.image_auroc,
            "pixel_auroc": part.pixel_auroc,
            "pro": part.pro,
        }
    return Measured(
        metrics={name: getattr(found, name) for name in METRICS},
        not_computed=dict(found.not_computed),
        image_auroc_by_score=by_score,
        per_defect=per_defect,
        intervals={name: (low, high) for name, (low, high) in found.intervals.items()},
    )
