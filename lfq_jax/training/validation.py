"""Validation on synthetic anomalies, and the scores that thresholds come from."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int64, PRNGKeyArray, UInt8

from lfq_jax.calibration.scores import CalibrationScores, Scores
from lfq_jax.config import AugmentConfig
from lfq_jax.inference.predictor import score_in_batches
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.metrics.evaluation import evaluate
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer, ScoringModel
from lfq_jax.model.variables import Variables
from lfq_jax.training.augmentation import vary_in_turn
from lfq_jax.training.data import Samples
from lfq_jax.training.leave_one_out import LeaveOneOut

VARIATIONS = 24
"""Varied shots that are scored at the end of a training."""


class Validation(NamedTuple):
    """Synthetic anomalies and good parts that training never saw, on the host."""

    images: UInt8[np.ndarray, "n h w 3"]
    """First the anomalous images, then as many good ones."""
    masks: Bool[np.ndarray, "n h w"]
    distance_maps: DistanceMaps
    """float16, compared with the shots that the images were not made from."""

    @classmethod
    def of(cls, anomalous: Samples, good: Samples) -> "Validation":
        """The two groups, one after the other."""
        both = jax.tree.map(
            lambda a, g: np.concatenate([np.asarray(a), np.asarray(g)]), anomalous, good
        )
        return cls(both.images, both.masks > 0, both.distance_maps)

    @property
    def labels(self) -> Int64[np.ndarray, "n"]:
        """1 where the image is anomalous."""
        return np.asarray(self.masks.any((1, 2)), np.int64)


class Validated(NamedTuple):
    """Metrics, pixel threshold and scores on the validation images."""

    metrics: dict[str, float | None]
    """Image AUROC, pixel AUROC and pixel AP."""
    pixel_threshold: float | None
    """Threshold of the largest F1 over pixels."""
    scores: Scores


def validate(scorer: Scorer, variables: Variables, validation: Validation) -> Validated:
    """Score `validation` and measure images and pixels."""
    maps, by_name = score_in_batches(
        scorer, variables, validation.images, validation.distance_maps
    )
    scores = np.asarray(by_name[scorer.config.image_score])
    evaluation = evaluate(scores, validation.labels, list(maps), list(validation.masks))
    metrics = {
        "pixel_auroc": evaluation.pixel_auroc,
        "image_auroc": evaluation.image_auroc,
        "pixel_ap": evaluation.pixel_ap,
    }
    return Validated(metrics, evaluation.pixel_threshold, by_name)


def score_for_calibration(
    scorer: Scorer,
    variables: Variables,
    shots: UInt8[np.ndarray, "k h w 3"],
    validated: tuple[Validation, Validated],
    *,
    others: LeaveOneOut | None,
    augment: AugmentConfig,
    key: PRNGKeyArray,
) -> CalibrationScores:
    """Scores of images with known labels, from which thresholds are computed.

    At the end of a training only the k shots are known to be good. Each shot is scored
    in varied form, compared with the bank of the other shots. The networks have seen
    the shots; these banks have not.

    Args:
      validated: the validation and its scores.
      others: the banks; None for a model without memory bank.
      augment: how the shots are varied.
      key: of the variations.
    """
    validation, result = validated
    varied = jax.device_get(
        _varied_shots(scorer.model, shots, others=others, augment=augment, key=key)
    )
    maps = varied.distance_maps if others is not None else None
    is_anomalous = validation.labels > 0
    return CalibrationScores(
        varied=score_in_batches(scorer, variables, np.asarray(varied.images), maps)[1],
        synthetic_good=_where(result.scores, ~is_anomalous),
        synthetic_anomalous=_where(result.scores, is_anomalous),
    )


def _varied_shots(
    model: ScoringModel,
    shots: UInt8[np.ndarray, "k h w 3"],
    *,
    others: LeaveOneOut | None,
    augment: AugmentConfig,
    key: PRNGKeyArray,
) -> Samples:
    if others is not None:
        return others.held_out_variations(VARIATIONS, key)
    assert isinstance(model, Model)
    return vary_in_turn(
        shots,
        VARIATIONS,
        key,
        augment,
        stride=model.config.stem,
        is_texture=model.is_texture,
    )


def _where(scores: Scores, chosen: np.ndarray) -> Scores:
    return {name: np.asarray(v)[chosen].tolist() for name, v in scores.items()}
