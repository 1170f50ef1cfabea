"""Copies of a single photograph of an object that differ as other good parts may.

Elastic deformation, as in Simard et al. ("Best Practices for Convolutional Neural
Networks Applied to Visual Document Analysis", ICDAR 2003), with a smooth displacement.
"""

import numpy as np
from jaxtyping import UInt8

from lfq_jax.ops.rotation import rotate_image

DISPLACEMENT = 0.03
"""Largest displacement of a control point, as a share of the shorter side."""
MOST_TURN_DEG = 6.0
_CONTROL_POINTS = 5  # along each side


def deformed(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, slightly rotated and smoothly distorted at random."""
    from scipy.ndimage import map_coordinates, zoom

    turned = rotate_image(image, rng.uniform(-MOST_TURN_DEG, MOST_TURN_DEG))
    sides = turned.shape[:2]
    most_px = DISPLACEMENT * min(sides)
    scale = [side / _CONTROL_POINTS for side in sides]
    source = np.indices(sides, np.float64)
    for axis in source:
        coarse = rng.uniform(-most_px, most_px, (_CONTROL_POINTS, _CONTROL_POINTS))
        axis += zoom(coarse, scale, order=3)
    channels = [
        map_coordinates(channel, source, order=1, mode="nearest")
        for channel in np.moveaxis(turned.astype(np.float64), -1, 0)
    ]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)
