"""Overall appearance of the good parts, to recognise another category's images."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

FAR_OFF = 1.5
"""`Appearance.distance` from which another category is suspected."""


_USUAL_CHANGE = 0.08  # of a channel's mean among photographs of one category


_USUAL_OCTAVES = 0.5  # of the contrast


class Appearance(NamedTuple):
    """What the good parts look like at large: to tell another category's images."""

    mean: tuple[float, float, float]
    """Mean of every channel over the shots, where white is 1."""
    deviation: float
    """Mean standard deviation within a shot."""

    def distance(self, image: UInt8[np.ndarray, "h w 3"]) -> float:
        """How unlike these good parts an image is, at large; 1 is still usual."""
        step = max(1, max(image.shape[:2]) // 256)
        other = appearance(image[None, ::step, ::step])
        colour = np.abs(np.subtract(other.mean, self.mean)).max() / _USUAL_CHANGE
        ratio = (other.deviation + 0.01) / (self.deviation + 0.01)
        return float(max(colour, abs(np.log2(ratio)) / _USUAL_OCTAVES))


def appearance(images: UInt8[np.ndarray, "k h w 3"]) -> Appearance:
    """Of good parts of one size."""
    unit = images.astype(np.float64) / 255.0
    red, green, blue = unit.mean((0, 1, 2)).tolist()
    return Appearance((red, green, blue), float(unit.std((1, 2)).mean()))
