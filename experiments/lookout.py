"""Warnings about photographs that a detector was not made for."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from lfq_jax.inference.detector import Detector

COMPARED = 16  # photographs whose look is compared with the shots'
FAR_LARGER = 4  # how many times the shots' longer side a photograph's must be


class Lookout:
    """Warns once where photographs look unlike the shots of the detector's category."""

    def __init__(self, detector: "Detector", *, tile_px: int) -> None:
        self._detector = detector
        self._is_whole = not tile_px
        self._distances: list[float] = []
        self._has_judged = False
        self._told_size = False

    def see(self, image: "np.ndarray") -> None:
        """Look at one photograph."""
        saved = self._detector.saved
        self._tell_size(image)
        if len(self._distances) == COMPARED:
            return
        self._distances.append(saved.appearance.distance(image))
        if len(self._distances) == COMPARED:
            self.tell()

    def tell(self) -> None:
        """Judge what was seen, unless that is done: warn where most is far off."""
        from lfq_jax.inference.appearance import FAR_OFF

        if not self._distances or self._has_judged:
            return
        self._has_judged = True
        middle = sorted(self._distances)[len(self._distances) // 2]
        if middle > FAR_OFF:
            print(
                f"warning: the photographs look unlike {self._detector.category}, "
                "which this detector has learnt (brightness, colour or contrast is off "
                f"by {middle:.1f} times what is usual): is it the right run and "
                "category?",
                file=sys.stderr,
            )

    def _tell_size(self, image: "np.ndarray") -> None:
        height, width = self._detector.saved.photograph_px
        if (
            self._told_size
            or not self._is_whole
            or max(image.shape[:2]) < FAR_LARGER * max(height, width)
        ):
            return
        self._told_size = True
        print(
            f"warning: a photograph of {image.shape[1]} x {image.shape[0]} px is made "
            f"small, the shots had {width} x {height} px: small defects vanish. If it "
            f"shows more, not the same at a finer grain, use --tile-px {width}",
            file=sys.stderr,
        )
