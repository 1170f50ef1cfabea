"""Overall appearance of the good parts, to recognise another category's images."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

FAR_OFF = 1.5
"""`Appearance.distance` from which another category is suspected."""

_TYPICAL_COLOUR_CHANGE = 0.08
"""Change of a channel's mean that is common among photographs of one category."""
_TYPICAL_CONTRAST_OCTAVES = 0.5
"""Change of contrast, in octaves, that is common among photographs of one category."""


class Appearance(NamedTuple):
    """Mean colour and contrast of the good parts."""

    mean: tuple[float, float, float]
    """Mean of every channel over the shots, where white is 1."""
    deviation: float
    """Mean standard deviation within a shot."""

    def distance(self, image: UInt8[np.ndarray, "h w 3"]) -> float:
        """How much an image's appearance differs from the good parts'.

        Up to 1 the difference is common among photographs of one category.
        """
        step = max(1, max(image.shape[:2]) // 256)
        other = appearance(image[None, ::step, ::step])
        colour = np.abs(np.subtract(other.mean, self.mean)).max()
        ratio = (other.deviation + 0.01) / (self.deviation + 0.01)
        colour_distance = colour / _TYPICAL_COLOUR_CHANGE
        contrast_distance = abs(np.log2(ratio)) / _TYPICAL_CONTRAST_OCTAVES
        return float(max(colour_distance, contrast_distance))


def appearance(images: UInt8[np.ndarray, "k h w 3"]) -> Appearance:
    """The appearance of good parts, all of one size."""
    unit = images.astype(np.float64) / 255.0
    red, green, blue = unit.mean((0, 1, 2)).tolist()
    return Appearance((red, green, blue), float(unit.std((1, 2)).mean()))
