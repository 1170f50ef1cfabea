"""The window around a mask that the diffusion model is given, and the way back.

The window has the image's aspect ratio, so that nothing is distorted. It is resized to
approximately the model's resolution, so that a small defect on a large image is painted
with as much detail as a large one.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from agm_torch.scene import Box

LATENT_PX = 8
"""Pixels a side of one latent of Stable Diffusion's autoencoder."""


class Crop(NamedTuple):
    """A window of an image, and its size in the model's input."""

    window: Box
    height: int
    width: int


def crop_around(
    box: Box,
    image_shape: tuple[int, int],
    *,
    scale: float,
    min_px: int,
    model_px: int,
) -> Crop:
    """A window of the image's aspect ratio around a mask, inside the image.

    Args:
      box: window around the mask.
      image_shape: height and width of the image.
      scale: side of the window divided by the side of the box.
      min_px: shortest side of the window, unless the image is smaller.
      model_px: side of the square with as many pixels as the model's input.
    """
    image_height, image_width = image_shape
    aspect = image_width / image_height
    box_height, box_width = box.shape
    height = max(
        scale * box_height, scale * box_width / aspect, min_px / min(1, aspect)
    )
    height = min(round(height), image_height)
    width = min(max(round(height * aspect), box_width), image_width)
    top = _start(box.top, box.bottom, height, image_height)
    left = _start(box.left, box.right, width, image_width)
    return Crop(
        Box(top, top + height, left, left + width),
        _multiple(model_px / aspect**0.5),
        _multiple(model_px * aspect**0.5),
    )


def cut(image: UInt8[np.ndarray, "h w 3"], crop: Crop) -> Image.Image:
    """The window at the model's size."""
    window = Image.fromarray(np.ascontiguousarray(image[crop.window.slices]))
    return window.resize((crop.width, crop.height), Image.Resampling.LANCZOS)


def latent_mask(
    mask: Bool[np.ndarray, "h w"], crop: Crop
) -> Bool[np.ndarray, "latent_h latent_w"]:
    """The latents that a mask touches, so that no thin line is lost."""
    height, width = crop.height // LATENT_PX, crop.width // LATENT_PX
    inside = mask[crop.window.slices]
    touched = Image.fromarray(inside).resize((width, height), Image.Resampling.NEAREST)
    latents = np.array(touched, dtype=bool)
    rows, columns = np.nonzero(inside)
    rows = rows * height // inside.shape[0]
    latents[rows, columns * width // inside.shape[1]] = True
    return latents


def paste_back(
    painted: UInt8[np.ndarray, "model_h model_w 3"], crop: Crop, box: Box
) -> Float32[np.ndarray, "box_h box_w 3"]:
    """The painted window at the image's resolution, cut to the mask's box."""
    size = (crop.window.shape[1], crop.window.shape[0])
    window = Image.fromarray(painted).resize(size, Image.Resampling.LANCZOS)
    rows = slice(box.top - crop.window.top, box.bottom - crop.window.top)
    columns = slice(box.left - crop.window.left, box.right - crop.window.left)
    return np.asarray(window, np.float32)[rows, columns]


def _start(low: int, high: int, length: int, limit: int) -> int:
    """Start of a window around the middle of [low, high) that stays in the image."""
    return min(max(0, (low + high - length) // 2), limit - length)


def _multiple(pixels: float) -> int:
    """The nearest length of whole latents, at least eight."""
    return max(8, round(pixels / LATENT_PX)) * LATENT_PX
