"""Thresholds that turn scores into decisions (paper 3.5), and what each guarantees.

A score is anomalous if it is at least the threshold. There are five rules:

- `max_f1`: the largest F1 on synthetic anomalies (eq. 5).
- `false_alarm_rate`: from good images alone, by conformal prediction (Vovk et al.
  2005).
- `new_parts`: from the shots, and from how new good parts of public data sets differ.
- `margin`: a quarter of the way from the `false_alarm_rate` threshold to the synthetic
  anomalies.
- `labelled`: the largest F1 on the user's own good and defective images.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lfq_jax.calibration.rules import Threshold
from lfq_jax.calibration.score_calibrator import ScoreCalibrator
from lfq_jax.config import ImageScore, from_json

Rule = Literal["new_parts", "margin", "max_f1", "false_alarm_rate", "labelled"]
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Thresholds:
    """All thresholds of one detector, and the rule in force. Stored as thresholds.json.

    The rule selects one threshold for images and one for pixels.
    """

    image_score: ImageScore
    """The image score that the thresholds apply to."""
    image_score_reason: str
    """Why this image score was chosen."""
    rule: Rule
    """The rule in force unless the user asks for another."""
    false_alarm_rate: float
    """Nominal rate of the rule `false_alarm_rate`."""
    image: dict[str, Threshold]
    """Thresholds on the image score, by rule."""
    pixel: dict[str, Threshold]
    """Thresholds on the map, by rule. For `false_alarm_rate`, the rate is that of good
    images in which any pixel is marked."""
    good: ScoreCalibrator
    """Good images' scores, which calibrate new scores."""
    tile_px: int
    """Width of the scored tiles in the photographs' pixels; 0: whole photographs."""
    calibration_scores: dict[str, Any]
    """The scores that a training stores for calibration, by kind: see
    `CalibrationScores`."""

    def __post_init__(self) -> None:
        for name in ("image", "pixel"):
            if self.rule not in getattr(self, name):
                raise ValueError(f"rule {self.rule} has no {name} threshold")

    def ruled_by(self, rule: str) -> "Thresholds":
        """These thresholds with another rule in force.

        Raises:
          ValueError: if no threshold of that rule is stored.
        """
        if rule not in self.image or rule not in self.pixel:
            known = ", ".join(self.image)
            raise ValueError(f"rule must be one of {known}, got {rule}")
        return dataclasses.replace(self, rule=rule)  # pyright: ignore[reportArgumentType]

    @property
    def image_threshold(self) -> float:
        """Threshold on the image score by the rule in force."""
        return self.image[self.rule].value

    @property
    def pixel_threshold(self) -> float:
        """Threshold on the map by the rule in force."""
        return self.pixel[self.rule].value

    def calibrated(self, score: float) -> float:
        """Estimated share of good parts that score lower than `score`, in [0, 1].

        Unlike raw scores, this number is comparable between categories.
        """
        return self.good.share_below(score)

    def as_json(self) -> dict[str, Any]:
        """The content of thresholds.json."""
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Thresholds":
        """The thresholds from the content of thresholds.json.

        Raises:
          ValueError: if the content is damaged or of another schema version.
        """
        try:
            fields = dict(content)
            version = fields.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")
            for level in ("image", "pixel"):
                fields[level] = {
                    rule: from_json(Threshold, threshold)
                    for rule, threshold in fields[level].items()
                }
            fields["good"] = ScoreCalibrator.of(fields["good"]["scores"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not thresholds of this version: {error!r}") from error
