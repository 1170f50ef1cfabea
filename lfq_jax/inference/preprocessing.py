"""From any camera's array to the input of the networks: 8-bit RGB of their size."""

import numpy as np
from jaxtyping import Shaped, UInt8

from datasets.framing import Framing
from lfq_jax.config import ModelConfig, TrainingFreeConfig

GREY_LIKE = (1, 2)  # channels: grey, grey with transparency
LONGEST_PX = 32_768
"""Longest side of an image that is scored. Larger images must be cut into pieces."""


def framing_of(model: ModelConfig | TrainingFreeConfig, *, is_texture: bool) -> Framing:
    """How photographs become images of a model's size."""
    return Framing(model.size, model.px_divisor, is_texture, model.fit)


def as_rgb(
    image: Shaped[np.ndarray, "..."], *, bit_depth: int, is_known: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """An image as 8-bit RGB, as `datasets.images.read_image` reads it from a file.

    Args:
      image: [h w], [h w 1], [h w 2], [h w 3] or [h w 4], of any integer type, or floats
        in [0, 1]. Transparency, the last of 2 or 4 channels, is composed on black.
      bit_depth: bits per value of all integer types but uint8: 10, 12, 14 or 16.
      is_known: whether the camera is known to have that depth. If not, wider integers
        without a value above 255 are refused, since they may be 8-bit values.

    Raises:
      ValueError: for another shape or type, no pixels, a side above LONGEST_PX, or
        values outside the range of the type.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise ValueError(
            f"image must have shape [h w], [h w 1], [h w 2], [h w 3] or [h w 4], got "
            f"{np.asarray(image).shape}"
        )
    if not pixels.size:
        raise ValueError(f"image must have pixels, got shape {np.asarray(image).shape}")
    if max(pixels.shape[:2]) > LONGEST_PX:
        raise ValueError(
            f"image must be at most {LONGEST_PX} px a side, got "
            f"{pixels.shape[1]} x {pixels.shape[0]}: cut it into pieces"
        )
    eight_bits = _eight_bits(pixels, bit_depth, is_known=is_known)
    return np.ascontiguousarray(_three_channels(eight_bits))


def _eight_bits(
    pixels: np.ndarray, bit_depth: int, *, is_known: bool
) -> UInt8[np.ndarray, "h w c"]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind in "iu":
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high >= 1 << max(bit_depth, 8):
            raise ValueError(
                f"image must have values in [0, {(1 << max(bit_depth, 8)) - 1}] at "
                f"bit_depth {bit_depth}, got {low} to {high}"
            )
        if 0 < high <= 255 and not is_known:
            raise ValueError(
                f"an image of {pixels.dtype} is read as {bit_depth} bits a value, got "
                f"none above {high}: cast it to uint8 if its values have 8 bits"
            )
        return (pixels >> (max(bit_depth, 8) - 8)).astype(np.uint8)
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # also refuses NaN
            raise ValueError(
                f"an image of floats must be in [0, 1], got {low:g} to {high:g}"
            )
        return np.round(pixels.astype(np.float64) * 255).astype(np.uint8)
    raise ValueError(f"image must hold numbers, got {pixels.dtype}")


def _three_channels(pixels: UInt8[np.ndarray, "h w c"]) -> np.ndarray:
    channels = pixels.shape[2]
    if channels in (2, 4):
        opacity = pixels[..., -1:].astype(np.uint32)
        pixels = ((pixels[..., :-1] * opacity + 127) // 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if channels in GREY_LIKE else pixels
