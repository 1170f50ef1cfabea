"""From scores to decisions (paper 3.5): where to put the threshold, and what it means.

Four rules. `max_f1`: the largest F1 on synthetic anomalies (eq. 5).
`false_alarm_rate`: from good images alone, by conformal prediction (Vovk et al. 2005).
`margin`: from there a quarter of the way to the synthetic anomalies. `labelled`: the
largest F1 on the user's own images, good and defective. A score is called anomalous
from the threshold on.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lfq_jax.calibration.rules import Threshold
from lfq_jax.calibration.score_calibrator import ScoreCalibrator
from lfq_jax.config import ImageScore, from_json

Rule = Literal["margin", "max_f1", "false_alarm_rate", "labelled"]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Thresholds:
    """How one detector's scores become decisions. Stored as thresholds.json."""

    image_score: ImageScore
    """The score that decides."""
    image_score_reason: str
    """Why that one."""
    rule: Rule
    """The rule that decides unless another is asked for."""
    false_alarm_rate: float
    """Nominal, of the rule of that name."""
    image: dict[str, Threshold]
    """Threshold on the image score by rule."""
    pixel: dict[str, Threshold]
    """Threshold on the map by rule: for `false_alarm_rate`, that any pixel of a good
    image is marked."""
    good: ScoreCalibrator
    """What scores are calibrated with."""
    tile_px: int
    """Width of the tiles that were scored, in the photographs' pixels; 0: whole."""
    evidence: dict[str, Any]
    """The scores that a training leaves behind; see `lfq_jax.training.validation`."""

    def __post_init__(self) -> None:
        for name in ("image", "pixel"):
            if self.rule not in getattr(self, name):
                raise ValueError(f"rule {self.rule} has no {name} threshold")

    def ruled_by(self, rule: str) -> "Thresholds":
        """The same with another rule in force.

        Raises:
          ValueError: where no threshold by that rule is stored.
        """
        if rule not in self.image or rule not in self.pixel:
            known = ", ".join(self.image)
            raise ValueError(f"rule must be one of {known}, got {rule}")
        return dataclasses.replace(self, rule=rule)  # pyright: ignore[reportArgumentType]

    @property
    def image_threshold(self) -> float:
        return self.image[self.rule].value

    @property
    def pixel_threshold(self) -> float:
        return self.pixel[self.rule].value

    def calibrated(self, score: float) -> float:
        """The score as a number that means the same in every category: the estimated
        share of good parts that score lower, in [0, 1]."""
        return self.good.share_below(score)

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Thresholds":
        """What `as_json` made.

        Raises:
          ValueError: where it is damaged or another version's.
        """
        try:
            fields = dict(content)
            version = fields.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")
            for level in ("image", "pixel"):
                fields[level] = {
                    rule: from_json(Threshold, each)
                    for rule, each in fields[level].items()
                }
            fields["good"] = ScoreCalibrator.of(fields["good"]["scores"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not thresholds of this version: {error!r}") from error
