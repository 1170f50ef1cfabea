"""What a training, or the fitting of a training-free detector, results in."""

from typing import Any, NamedTuple

import numpy as np

from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.model.scoring import Scorer


class Trained(NamedTuple):
    """The best detector of a run."""

    variables: Any
    """`Variables` of LFQUIAD, or `TrainingFreeVariables`."""
    scorer: Scorer
    validation: dict[str, float | None]
    """Metrics on synthetic anomalies that training never saw. Empty for a training-free
    detector."""
    thresholds: Thresholds
    """From scores to decisions (paper 3.5)."""
    step: int
    """The step of the best validation. 0 for a training-free detector."""
    seconds: dict[str, float]
    """By stage. `prepare`: before the first step; `steps`, with their validations;
    `calibrate`: the thresholds. A training-free detector has `fit` alone."""
    validation_images: np.ndarray
    """u8 [n h w 3]: the images that an export is checked with."""
