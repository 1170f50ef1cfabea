"""Colours that things near the image could have."""

import numpy as np
from jaxtyping import Float32

from agm_torch.scene import Scene


def random_colour(scene: Scene, rng: np.random.Generator) -> Float32[np.ndarray, "3"]:
    """A random colour, in grey levels.

    Either a colour of the image, darker or brighter or shifted, or a dark or light
    grey, or any.
    """
    which = rng.random()
    image_colour = pixel_colour(scene, rng)
    if which < 0.35:
        return (image_colour * np.float32(rng.uniform(0.3, 1.7))).clip(0, 255)
    if which < 0.55:
        return np.full(3, rng.uniform(0, 60), np.float32)
    if which < 0.7:
        return np.full(3, rng.uniform(190, 255), np.float32)
    if which < 0.85:
        return (image_colour + rng.normal(0, 35, 3).astype(np.float32)).clip(0, 255)
    return rng.uniform(0, 255, 3).astype(np.float32)


def pixel_colour(scene: Scene, rng: np.random.Generator) -> Float32[np.ndarray, "3"]:
    """The colour of a pixel drawn from the image."""
    height, width = scene.image.shape[:2]
    row, column = int(rng.integers(height)), int(rng.integers(width))
    return scene.image[row, column].astype(np.float32)
