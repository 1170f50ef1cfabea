"""Fits a training-free detector to its shots, and sets its thresholds."""

import dataclasses
import time

import numpy as np
from jaxtyping import UInt8

from lfq_jax.backbones import Backbone
from lfq_jax.calibration.calibrate import thresholds_after_training
from lfq_jax.calibration.scores import CalibrationScores, Scores
from lfq_jax.config import AugmentConfig, ScoreConfig, TrainingFreeConfig
from lfq_jax.inference.predictor import score_in_batches
from lfq_jax.model.scoring import Scorer
from lfq_jax.ops.cores import on_all_cores
from lfq_jax.training.augmentation import vary_in_turn
from lfq_jax.training.random_streams import random_streams
from lfq_jax.training.trained import Trained
from lfq_jax.training_free.model import TrainingFree, TrainingFreeVariables
from lfq_jax.training_free.patch_features import FILTER_STRIDE, fit_patch_extractor

VARIATIONS = 24
"""Varied shots that thresholds are computed from."""
_EXPORTED = 8  # of these, an export is checked with at most this many


def fit(
    shots: UInt8[np.ndarray, "k h w 3"],
    config: TrainingFreeConfig,
    score: ScoreConfig,
    *,
    is_texture: bool,
    seed: int,
    augment: AugmentConfig,
    parts: int | None = None,
    backbone: Backbone | None = None,
) -> Trained:
    """Fit a training-free detector. The same arguments give the same bits.

    Thresholds come from variations of the shots, each compared with the other shots. A
    single shot is compared with itself, so its variations are also mirrored.

    Args:
      shots: good images of the detector's input size.
      score: how maps are smoothed and images are scored.
      seed: of the rotations, the choice of patches and the variations.
      augment: how light and noise of the shots are varied for the thresholds.
      parts: how many different parts the shots show. Default: as many as shots.
      backbone: the network of `config.backbone`.

    Raises:
      ValueError: if there is no shot, or `backbone` is missing.
    """
    started = time.monotonic()
    model = TrainingFree(config, is_texture=is_texture)
    scorer = Scorer(model, score)
    extractor = fit_patch_extractor(shots, config, backbone=backbone)
    summaries = [
        model.summarise(extractor, shot, model.turns_deg(seed=seed, shot=i))
        for i, shot in enumerate(shots)
    ]
    varied = _varied(shots, augment, seed=seed)
    without: dict[int, TrainingFreeVariables] = {}

    def fit_without(i: int) -> None:
        others = [summary for j, summary in enumerate(summaries) if j != i]
        without[i] = model.fit(extractor, others or summaries, seed=seed)

    # One more than there are shots: without none of them.
    on_all_cores(fit_without, range(len(shots) + 1))
    by_shot: list[Scores] = []
    for i in range(len(shots)):
        own = varied[i :: len(shots)]
        by_shot.append(score_in_batches(scorer, without[i], own, None)[1])
    return Trained(
        variables=without[len(shots)],
        scorer=scorer,
        validation={},
        thresholds=thresholds_after_training(
            _calibration_scores(by_shot),
            shots=parts or len(shots),
            image_score=score.image_score,
            pixel_f1_threshold=None,
            expects_new_parts=False,
        ),
        step=0,
        seconds={"fit": time.monotonic() - started},
        validation_images=varied[:_EXPORTED],
    )


def _varied(
    shots: UInt8[np.ndarray, "k h w 3"], augment: AugmentConfig, *, seed: int
) -> UInt8[np.ndarray, "n h w 3"]:
    """Variations of the first shot, the second, and so on in turn.

    Several shots are varied in light and noise alone: their poses already differ.
    """
    variation = dataclasses.replace(
        augment,
        flips="none" if len(shots) > 1 else "both",
        quarter_turns="never",
    )
    samples = vary_in_turn(
        shots,
        max(VARIATIONS, len(shots)),
        random_streams(seed).calibration().validation_anomalies,
        variation,
        stride=FILTER_STRIDE,
        is_texture=False,
    )
    return np.asarray(samples.images)


def _calibration_scores(by_shot: list[Scores]) -> CalibrationScores:
    """The scores of all variations. There are no synthetic anomalies."""
    varied = {name: [v for each in by_shot for v in each[name]] for name in by_shot[0]}
    none: Scores = {name: [] for name in varied}
    return CalibrationScores(varied, synthetic_good=none, synthetic_anomalous=none)
