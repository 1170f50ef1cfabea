"""A trained run as a function from photographs to decisions and heat maps.

detector = lfq_jax.load("runs/<id>")
prediction = detector(image)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.inference.detector_files import (
    DetectorRecord,
    read_detector,
    read_thresholds,
)
from lfq_jax.inference.image_input import is_one_image, read_rgb
from lfq_jax.inference.predictor import Predictor, RawPrediction
from lfq_jax.inference.run_folder import detector_folder
from lfq_jax.ops.resize import to_mask_resolution


@runtime_checkable
class ArrayLike(Protocol):
    """An array of any library that numpy can read."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray: ...


OneImage = ArrayLike | Image.Image | str | Path


class Prediction(NamedTuple):
    """The decision on one image, with its scores and heat map."""

    score: float
    """The image score that is compared with the threshold. Higher is more anomalous."""
    is_anomalous: bool
    heat_map: Float[np.ndarray, "h w"]
    """Probability in [0, 1] that a pixel is anomalous, at the image's resolution."""
    mask: Bool[np.ndarray, "h w"]
    """True where the heat map is at least the pixel threshold."""
    calibrated: float
    """Estimated share of good parts that score lower. Comparable between categories."""


class Detector:
    """A trained detector. Several threads may call it at once."""

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
        """A detector with the same compiled networks and other thresholds."""
        return Detector(self.predictor, thresholds)

    @overload
    def __call__(
        self, images: OneImage, *, tile_px: int | None = None
    ) -> Prediction: ...

    @overload
    def __call__(
        self, images: Sequence[OneImage], *, tile_px: int | None = None
    ) -> list[Prediction]: ...

    def __call__(
        self, images: Any, *, tile_px: int | None = None
    ) -> Prediction | list[Prediction]:
        """Score one image, or a list of them in batches.

        Args:
          images: one image or a list. An image is an array [h w] or [h w c] (numpy,
            jax, or torch on the CPU), a Pillow image, or the path of an image file.
            Images may have any size, be grey or colour, and have 8 to 16 bits or floats
            in [0, 1]. An array is always one image, never a list of its rows.
          tile_px: width of the tiles that are scored separately, in the images' pixels.
            0: the whole image at once. Default: as calibrated.

        Returns:
          One prediction for an image, a list of predictions for a list; an empty list
          for an empty one.

        Raises:
          TypeError: for anything else.
          ValueError: if an image cannot be read, or its shape or values are refused.
        """
        if is_one_image(images):
            return self.predict_rgb([self.rgb(images)], tile_px=tile_px)[0]
        photographs = [
            self.rgb(image, name=f"images[{i}]") for i, image in enumerate(images)
        ]
        return self.predict_rgb(photographs, tile_px=tile_px)

    def predict_rgb(
        self,
        photographs: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        *,
        tile_px: int | None = None,
    ) -> list[Prediction]:
        """One prediction for each photograph that `rgb` returned."""
        if tile_px is None:
            tile_px = self.thresholds.tile_px
        raw = self.predictor.predict(photographs, tile_px=tile_px)
        return [
            self.decide(prediction, photograph.shape[:2])
            for prediction, photograph in zip(raw, photographs, strict=True)
        ]

    def rgb(self, image: Any, *, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
        """An image of any accepted kind as 8-bit RGB; see `image_input.read_rgb`.

        Integers of more than 8 bits are read at the shots' bit depth.
        """
        record = self.record
        return read_rgb(
            image,
            bit_depth=record.wide_bit_depth,
            is_known=record.bit_depth > 8,
            remarks=self.predictor.remarks,
            name=name,
        )

    def decide(self, raw: RawPrediction, size: tuple[int, ...]) -> Prediction:
        """The prediction for an image of `size` (height, width)."""
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
      category: which category, if the run has several.

    Raises:
      ValueError: if the run or category does not exist or has not finished, or another
        version of the project wrote it.
    """
    folder = detector_folder(Path(run), category)
    return Detector(Predictor(read_detector(folder)), read_thresholds(folder))
