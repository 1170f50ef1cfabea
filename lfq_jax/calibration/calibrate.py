"""Thresholds from the scores of a training or of a calibration's photographs."""

import math
from collections.abc import Sequence

import numpy as np

from lfq_jax.calibration.rules import (
    MAP_MAX,
    Threshold,
    f1_threshold,
    false_alarm_threshold,
    margin_threshold,
    new_parts_threshold,
)
from lfq_jax.calibration.score_calibrator import ScoreCalibrator
from lfq_jax.calibration.scores import CalibrationScores, Scores
from lfq_jax.calibration.thresholds import Rule, Thresholds
from lfq_jax.config import IMAGE_SCORES, ImageScore
from lfq_jax.metrics.counts import count_scores
from lfq_jax.metrics.values import image_figures

FALSE_ALARM_RATE = 0.05
"""Default nominal false-alarm rate."""
_ONE_SIDED = 1.645  # standard normal quantile of 95 %
_LEAD = (
    0.02  # lead in AUROC that another image score needs to replace the preferred one
)


def image_auroc(good: Sequence[float], anomalous: Sequence[float]) -> float:
    """AUROC of one image score.

    Raises:
      ValueError: if good or anomalous images are missing.
    """
    if not (len(good) and len(anomalous)):
        raise ValueError(
            "an AUROC needs good and anomalous images, got "
            f"{len(good)} good and {len(anomalous)} anomalous ones"
        )
    scores = np.array([*good, *anomalous], np.float64)
    counts = count_scores(scores, np.asarray(anomalous, np.float64))
    return float(image_figures(counts).values["image_auroc"])


def lowest_chance_auroc(good: int, anomalous: int) -> float:
    """The AUROC that unrelated scores stay above with a probability of about 95 %.

    By the normal approximation of the Mann-Whitney statistic. An AUROC at or below it
    means that the scores are the wrong way round, e.g. that labels were swapped.

    Args:
      good, anomalous: numbers of images, at least 1 each.
    """
    deviation = math.sqrt((good + anomalous + 1) / (12 * good * anomalous))
    return 0.5 - _ONE_SIDED * deviation


def chosen_score(
    good: Scores, anomalous: Scores, *, preferred: ImageScore, what: str
) -> tuple[ImageScore, str]:
    """The image score with the highest AUROC, and why.

    `preferred` is kept unless another score leads by more than `_LEAD`, since smaller
    differences may be chance on few images.
    """
    areas = {n: image_auroc(good[n], anomalous[n]) for n in IMAGE_SCORES}
    best = max(IMAGE_SCORES, key=lambda name: areas[name])
    summary = ", ".join(f"{name} {area:.3f}" for name, area in areas.items())
    if areas[best] > areas[preferred] + _LEAD:
        return best, f"highest AUROC on {what}: {summary}"
    reason = f"as configured; no other score leads by {_LEAD} on {what}: {summary}"
    return preferred, reason


def thresholds_after_training(
    scores: CalibrationScores,
    *,
    shots: int,
    image_score: ImageScore,
    pixel_f1_threshold: float | None,
    expects_new_parts: bool,
) -> Thresholds:
    """The thresholds of a finished training, from its shots alone.

    Args:
      scores: of the shots' variations and of the synthetic validation.
      shots: number of different good parts.
      image_score: the image score that the thresholds apply to.
      pixel_f1_threshold: threshold of the largest F1 over the pixels of the synthetic
        validation; None if it could not be computed.
      expects_new_parts: whether there is the rule `new_parts`. It was measured where a
        logistic head scores, and variations are compared with other parts.
    """
    good, bad = scores.synthetic_good, scores.synthetic_anomalous
    image: dict[str, Threshold] = {}
    pixel: dict[str, Threshold] = {}
    image["false_alarm_rate"] = false_alarm_threshold(
        scores.varied[image_score], rate=FALSE_ALARM_RATE, parts=shots
    )
    pixel["false_alarm_rate"] = false_alarm_threshold(
        scores.varied[MAP_MAX], rate=FALSE_ALARM_RATE, parts=shots
    )
    what = "the synthetic validation"
    rule: Rule = "false_alarm_rate"
    if bad[image_score]:
        rule = "margin"  # fewer false alarms: docs/results/accuracy.md
        for level, name in ((image, image_score), (pixel, MAP_MAX)):
            level[rule] = margin_threshold(
                level["false_alarm_rate"], bad[name], parts=shots
            )
    if expects_new_parts:
        rule = "new_parts"
        for level, name in ((image, image_score), (pixel, MAP_MAX)):
            level[rule] = new_parts_threshold(
                scores.varied, name, rate=FALSE_ALARM_RATE, parts=shots
            )
    if bad[image_score] and pixel_f1_threshold is not None:
        labels = [False] * len(good[image_score]) + [True] * len(bad[image_score])
        of_both = [*good[image_score], *bad[image_score]]
        image["max_f1"] = f1_threshold(of_both, labels, what=what)
        statement = f"largest F1 over the pixels of {what}"
        pixel["max_f1"] = Threshold(pixel_f1_threshold, statement)
    return Thresholds(
        image_score=image_score,
        image_score_reason="as configured",
        rule=rule,
        false_alarm_rate=FALSE_ALARM_RATE,
        image=image,
        pixel=pixel,
        good=ScoreCalibrator.of(scores.varied[image_score]),
        tile_px=0,
        calibration_scores=scores._asdict(),
    )


def thresholds_from_photographs(
    before: Thresholds,
    good: Scores,
    *,
    defective: Scores | None = None,
    pixel_f1_threshold: float | None = None,
    image_score: ImageScore,
    reason: str,
    rate: float,
    tile_px: int,
) -> Thresholds:
    """New thresholds, from scores of photographs that were not used in training.

    Thresholds of other rules in `before` are kept if they have the same image score and
    tile width.

    Args:
      before: the previous thresholds.
      good: scores of good parts.
      defective: scores of defective parts. If given, the rule is `labelled`.
      pixel_f1_threshold: threshold of the largest F1 over all photographs' pixels, if
        there are masks.
      image_score: the image score that the thresholds apply to.
      reason: why this image score was chosen.
      rate: nominal false-alarm rate, in (0, 1).
      tile_px: width of the scored tiles; 0: whole photographs.
    """
    same = (before.image_score, before.tile_px) == (image_score, tile_px)
    image, pixel = (dict(before.image), dict(before.pixel)) if same else ({}, {})
    rule: Rule = "false_alarm_rate"
    image[rule] = false_alarm_threshold(good[image_score], rate=rate)
    pixel[rule] = false_alarm_threshold(good[MAP_MAX], rate=rate)
    for level in (image, pixel):
        level.pop("labelled", None)  # from other photographs
    if defective is not None:
        scores = [*good[image_score], *defective[image_score]]
        labels = [False] * len(good[image_score]) + [True] * len(defective[image_score])
        what = "the photographs of the calibration"
        image["labelled"] = f1_threshold(scores, labels, what=what)
        pixel["labelled"] = (
            Threshold(pixel_f1_threshold, f"largest F1 over the pixels of {what}")
            if pixel_f1_threshold is not None
            else pixel[rule]
        )
        rule = "labelled"
    return Thresholds(
        image_score=image_score,
        image_score_reason=reason,
        rule=rule,
        false_alarm_rate=rate,
        image=image,
        pixel=pixel,
        good=ScoreCalibrator.of(good[image_score]),
        tile_px=tile_px,
        calibration_scores=before.calibration_scores,
    )
