"""Which score decides, and from where on: thresholds from the scores at hand."""

from collections.abc import Sequence

import numpy as np

from lfq_jax.calibration.rules import (
    Threshold,
    f1_threshold,
    false_alarm_threshold,
    margin_threshold,
)
from lfq_jax.calibration.score_calibrator import ScoreCalibrator
from lfq_jax.calibration.scores import CalibrationScores, Scores
from lfq_jax.calibration.thresholds import Rule, Thresholds
from lfq_jax.config import IMAGE_SCORES, ImageScore
from lfq_jax.metrics.counts import count_scores
from lfq_jax.metrics.values import image_figures

FALSE_ALARM_RATE = 0.05
MAP_MAX = "map_max"
_LEAD = 0.02  # of AUROC: how much better another score must be to be taken


def image_auroc(good: Sequence[float], anomalous: Sequence[float]) -> float:
    """Of one score.

    Raises:
      ValueError: where good or anomalous images are missing.
    """
    if not (len(good) and len(anomalous)):
        raise ValueError(
            "an AUROC needs good and anomalous images, got "
            f"{len(good)} good and {len(anomalous)} anomalous ones"
        )
    scores = np.array([*good, *anomalous], np.float64)
    counts = count_scores(scores, np.asarray(anomalous, np.float64))
    return float(image_figures(counts).values["image_auroc"])


def chosen_score(
    good: Scores, anomalous: Scores, *, preferred: ImageScore, what: str
) -> tuple[ImageScore, str]:
    """The image score of the highest AUROC, and why.

    `preferred` stays unless another is better by more than a chance of few images.
    """
    areas = {n: image_auroc(good[n], anomalous[n]) for n in IMAGE_SCORES}
    best = max(IMAGE_SCORES, key=lambda name: areas[name])
    told = ", ".join(f"{name} {area:.3f}" for name, area in areas.items())
    if areas[best] > areas[preferred] + _LEAD:
        return best, f"highest AUROC on {what}: {told}"
    return preferred, f"as configured; no other leads by {_LEAD} on {what}: {told}"


def of_training(
    evidence: CalibrationScores,
    *,
    shots: int,
    image_score: ImageScore,
    pixel_f1_threshold: float | None,
    rate: float = FALSE_ALARM_RATE,
) -> Thresholds:
    """The thresholds of a finished training, from nothing but its shots.

    Args:
      image_score: the one that decides.
      pixel_f1_threshold: of the largest F1 over the pixels of the synthetic validation;
        None where none could be computed.
    """
    good, bad = evidence.synthetic_good, evidence.synthetic_anomalous
    image: dict[str, Threshold] = {}
    pixel: dict[str, Threshold] = {}
    image["false_alarm_rate"] = false_alarm_threshold(
        evidence.varied[image_score], rate=rate, parts=shots
    )
    pixel["false_alarm_rate"] = false_alarm_threshold(
        evidence.varied[MAP_MAX], rate=rate, parts=shots
    )
    what = "the synthetic validation"
    rule: Rule = "false_alarm_rate"
    if bad[image_score]:
        rule = "margin"  # fewer false alarms: see docs/results/accuracy.md
        for level, name in ((image, image_score), (pixel, MAP_MAX)):
            level[rule] = margin_threshold(
                level["false_alarm_rate"], bad[name], parts=shots
            )
    if bad[image_score] and pixel_f1_threshold is not None:
        labels = [False] * len(good[image_score]) + [True] * len(bad[image_score])
        scores = [*good[image_score], *bad[image_score]]
        image["max_f1"] = f1_threshold(scores, labels, what=what)
        said = f"largest F1 over the pixels of {what}"
        pixel["max_f1"] = Threshold(pixel_f1_threshold, said)
    return Thresholds(
        image_score=image_score,
        image_score_reason="as configured",
        rule=rule,
        false_alarm_rate=rate,
        image=image,
        pixel=pixel,
        good=ScoreCalibrator.of(evidence.varied[image_score]),
        tile_px=0,
        evidence=evidence._asdict(),
    )


def of_photographs(
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
    """Thresholds anew, from scores of photographs that the training has not seen.

    What `before` has by other rules stays, if it is of the same score and tiles.

    Args:
      good: of good parts.
      defective: of defective ones, where there are some: then the largest F1 decides.
      pixel_f1_threshold: of the largest F1 over the pixels of all, where masks exist.
    """
    same = (before.image_score, before.tile_px) == (image_score, tile_px)
    image, pixel = (dict(before.image), dict(before.pixel)) if same else ({}, {})
    rule: Rule = "false_alarm_rate"
    image[rule] = false_alarm_threshold(good[image_score], rate=rate)
    pixel[rule] = false_alarm_threshold(good[MAP_MAX], rate=rate)
    for level in (image, pixel):
        level.pop("labelled", None)  # of other photographs
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
        evidence=before.evidence,
    )
