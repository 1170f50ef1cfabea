"""Warnings about photographs that differ from the shots of the detector."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from lfq_jax.inference.detector import Detector

COMPARED = 16  # how many photographs are compared with the shots
FAR_LARGER = 4  # warn if a photograph's longer side is this many times the shots'


class InputCheck:
    """Warns once if photographs look unlike the shots, and once if they are far larger.

    Args:
      detector: its appearance statistics come from the shots of its category.
      tile_px: width of the tiles; 0 scores photographs as a whole. Only then is their
        size checked.
    """

    def __init__(self, detector: "Detector", *, tile_px: int) -> None:
        self._detector = detector
        self._is_whole = not tile_px
        self._distances: list[float] = []
        self._has_judged_appearance = False
        self._has_warned_of_size = False

    def add(self, image: "np.ndarray") -> None:
        """Compare one photograph; after COMPARED of them, warn if they look unlike."""
        self._check_size(image)
        if len(self._distances) == COMPARED:
            return
        appearance = self._detector.record.appearance
        self._distances.append(appearance.distance(image))
        if len(self._distances) == COMPARED:
            self.finish()

    def finish(self) -> None:
        """Warn if the median distance is too large, unless that has been checked."""
        from datasets.progress import write_line
        from lfq_jax.inference.appearance import FAR_OFF

        if not self._distances or self._has_judged_appearance:
            return
        self._has_judged_appearance = True
        median = sorted(self._distances)[len(self._distances) // 2]
        if median > FAR_OFF:
            write_line(
                "warning: the photographs look unlike the training images of "
                f"{self._detector.category} (brightness, colour or contrast differ by "
                f"{median:.1f} times the usual variation): check --run and --category",
            )

    def _check_size(self, image: "np.ndarray") -> None:
        from datasets.progress import write_line

        height, width = self._detector.record.photograph_px
        if (
            self._has_warned_of_size
            or not self._is_whole
            or max(image.shape[:2]) < FAR_LARGER * max(height, width)
        ):
            return
        self._has_warned_of_size = True
        write_line(
            f"warning: a photograph of {image.shape[1]} x {image.shape[0]} px is "
            "reduced before scoring, and small defects vanish; the shots had "
            f"{width} x {height} px. If it shows a larger area than the shots, not the "
            f"same area at a higher resolution, use --tile-px {width}",
        )
