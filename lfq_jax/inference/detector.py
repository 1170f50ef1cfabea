"""A trained run as a function: photographs in, decisions and heat maps out.

detector = lfq_jax.load("runs/<id>")
prediction = detector(image)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.inference.detector_files import (
    DetectorRecord,
    read_detector,
    read_thresholds,
)
from lfq_jax.inference.predictor import Predictor, RawPrediction
from lfq_jax.inference.preprocessing import as_rgb
from lfq_jax.inference.run_folder import detector_folder
from lfq_jax.ops.resize import to_mask_resolution


class Prediction(NamedTuple):
    """The answer about one image."""

    score: float
    """The image score that decides; the higher the more anomalous."""
    is_anomalous: bool
    heat_map: Float[np.ndarray, "h w"]
    """Probability of an anomaly a pixel, in [0, 1], at the image's resolution."""
    mask: Bool[np.ndarray, "h w"]
    """Where the heat map reaches the pixel threshold."""
    calibrated: float
    """Estimated share of good parts that score lower; the same in every category."""


class Detector:
    """A trained detector. Any number of threads may call it at once."""

    def __init__(self, predictor: Predictor, thresholds: Thresholds) -> None:
        self.predictor = predictor
        self.thresholds = thresholds

    @property
    def record(self) -> DetectorRecord:
        """The contents of the detector's folder, without thresholds."""
        return self.predictor.record

    @property
    def category(self) -> str:
        return self.record.category

    def with_thresholds(self, thresholds: Thresholds) -> "Detector":
        """The same networks, compiled already, with other thresholds."""
        return Detector(self.predictor, thresholds)

    @overload
    def __call__(
        self, images: np.ndarray, *, tile_px: int | None = None
    ) -> Prediction: ...

    @overload
    def __call__(
        self, images: Sequence[np.ndarray], *, tile_px: int | None = None
    ) -> list[Prediction]: ...

    def __call__(
        self,
        images: Shaped[np.ndarray, "..."] | Sequence[np.ndarray],
        *,
        tile_px: int | None = None,
    ) -> Prediction | list[Prediction]:
        """Score one image, or a list of them in batches.

        Args:
          images: of any size, grey or colour, 8 to 16 bits or floats in [0, 1]; a list
            gives a list.
          tile_px: width of the tiles that are scored each on its own, in the images'
            pixels; 0: the whole image at once. Default: what was calibrated.

        Raises:
          ValueError: for an array that is no image.
        """
        if isinstance(images, np.ndarray):
            return self([images], tile_px=tile_px)[0]
        photographs = [self.rgb(image) for image in images]
        if tile_px is None:
            tile_px = self.thresholds.tile_px
        raw = self.predictor.predict(photographs, tile_px=tile_px)
        return [
            self.decide(prediction, photograph.shape[:2])
            for prediction, photograph in zip(raw, photographs, strict=True)
        ]

    def rgb(self, image: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "h w 3"]:
        """Any image as the networks take it; wide integers by the shots' bit depth."""
        record = self.record
        return as_rgb(
            image, bit_depth=record.wide_bit_depth, is_known=record.bit_depth > 8
        )

    def decide(self, raw: RawPrediction, size: tuple[int, ...]) -> Prediction:
        """The answer about an image of `size` (height, width)."""
        height, width = size
        heat_map = to_mask_resolution(raw.map, (height, width))
        heat_map = np.clip(heat_map, 0.0, 1.0).astype(np.float32)
        score = raw.scores[self.thresholds.image_score]
        return Prediction(
            score=score,
            is_anomalous=score >= self.thresholds.image_threshold,
            heat_map=heat_map,
            mask=heat_map >= self.thresholds.pixel_threshold,
            calibrated=self.thresholds.calibrated(score),
        )


def load(run: str | Path, category: str | None = None) -> Detector:
    """The detector of a run folder.

    Args:
      run: `runs/<id>`, or the folder of one of its categories.
      category: which one, where the run has several.

    Raises:
      ValueError: where there is no such run or category, it did not finish, or another
        version wrote it.
    """
    folder = detector_folder(Path(run), category)
    return Detector(Predictor(read_detector(folder)), read_thresholds(folder))
