"""What thresholds are derived from: scores of images whose answer is known.

At the end of a training nothing but the k shots is known to be good. Each is therefore
scored as a stranger, in drawn variations: compared with the *other* shots' patches
(leave one out). The networks have seen the shots, the memory has not.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, UInt8

from lfq_jax.calibration.scores import CalibrationScores, Scores
from lfq_jax.inference.predictor import score_in_batches
from lfq_jax.memory_bank.bank import MemoryBank
from lfq_jax.metrics.evaluation import evaluate
from lfq_jax.model.scoring import Scorer
from lfq_jax.model.variables import Variables
from lfq_jax.training.data import Photographs
from lfq_jax.training.leave_one_out import LeaveOneOut

VARIATIONS = 48
"""Varied shots that are scored at the end of a training."""
_OTHER_SEED = 1_000_003  # variations that neither training nor validation drew


def score_for_calibration(
    scorer: Scorer,
    variables: Variables,
    preparation: LeaveOneOut,
    normals: UInt8[np.ndarray, "k h w 3"],
    *,
    validation: Scores,
    labels: Bool[np.ndarray, "n"],
) -> CalibrationScores:
    """All that a finished training can know about scores.

    Args:
      validation: scores of the synthetic validation.
      labels: which of its images are anomalous.
    """
    strange = dataclasses.replace(preparation, seed=preparation.seed + _OTHER_SEED)
    varied = jax.device_get(strange.strangers(normals, VARIATIONS, stream=3))
    known = None if preparation.model.memory_bank is None else varied.distance_maps
    return CalibrationScores(
        varied=score_in_batches(scorer, variables, varied.images, known)[1],
        synthetic_good=_where(validation, ~labels),
        synthetic_anomalous=_where(validation, labels),
    )


def _where(scores: Scores, chosen: np.ndarray) -> Scores:
    return {name: np.asarray(v)[chosen].tolist() for name, v in scores.items()}


class Validation(NamedTuple):
    """Synthetic anomalies and good parts that the trainer never saw, on the host."""

    images: np.ndarray
    """u8 [n h w 3]: first the anomalous ones, then as many good ones."""
    masks: np.ndarray
    """bool [n h w]."""
    references: np.ndarray
    """f16 [n gh gw c]: what `compare` finds beside the shots it was not made from."""

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(self.masks.any((1, 2)), np.int64)


def make_validation(
    preparation: LeaveOneOut, data: Photographs, others: list[MemoryBank] | None = None
) -> Validation:
    """Every held-out anomaly once, and as many varied good parts.

    Args:
      others: what `preparation.others` gives of its shots, where that is known.
    """
    prepared = preparation.validation(data, others=others)
    samples = jax.tree.map(lambda a, g: np.concatenate([a, g]), *prepared)
    return Validation(samples.images, samples.masks > 0, samples.distance_maps)


class Validated(NamedTuple):
    """What a detector makes of the validation."""

    figures: dict[str, float | None]
    """AUROCs of both levels, and the pixels' AP."""
    pixel_threshold: float | None
    """Of the largest F1 over pixels."""
    scores: Scores


def validate(scorer: Scorer, variables: Variables, validation: Validation) -> Validated:
    """Score `validation` and measure both levels."""
    maps, by_name = score_in_batches(
        scorer, variables, validation.images, validation.distance_maps
    )
    scores = np.asarray(by_name[scorer.config.image_score])
    found = evaluate(scores, validation.labels, list(maps), list(validation.masks))
    figures = {
        "pixel_auroc": found.pixel_auroc,
        "image_auroc": found.image_auroc,
        "pixel_ap": found.pixel_ap,
    }
    return Validated(figures, found.pixel_threshold, by_name)
