"""The camera of an inspection station: linear scene radiance to an 8-bit photograph.

In this order, `photograph` applies exposure, white balance, shading of the image field
by lamp and lens, blur of the lens, shot noise and read noise of the sensor, and the
sRGB transfer function (IEC 61966-2-1).
"""

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

EXPOSURE_SPREAD = 0.03
"""Standard deviation of the exposure."""
WHITE_BALANCE_SPREAD = 0.012
"""Standard deviation of the red gain and of the blue gain."""
LIGHT_GRADIENT = 0.04
"""Standard deviation of the brightness change from centre to border, on each axis."""
VIGNETTING = 0.06
"""Share of light lost in the corners: a shot loses between half of it and all of it."""
DEFOCUS_PX = (0.35, 0.6)
"""Smallest and largest standard deviation of the lens's blur."""
FULL_WELL_ELECTRONS = 7000.0
"""Electrons of a white pixel. Fewer electrons mean more noise."""
READ_NOISE_ELECTRONS = 12.0


def srgb_curve(
    linear: Float32[np.ndarray, "*shape"],
) -> Float32[np.ndarray, "*shape"]:
    """The sRGB transfer function; values outside [0, 1] are clipped."""
    linear = np.clip(linear, 0, 1)
    bright = np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= np.float32(0.0031308), np.float32(12.92) * linear, bright)


def shading_of_field(
    rng: np.random.Generator, shape: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """Relative brightness of every pixel: a linear gradient times vignetting."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    slope_y, slope_x = LIGHT_GRADIENT * rng.standard_normal(2, np.float32)
    corners = np.float32(VIGNETTING * rng.uniform(0.5, 1.0))
    return (1 + slope_y * y + slope_x * x) * (1 - corners / 2 * (x * x + y * y))


def photograph(
    scene: Float32[np.ndarray, "h w 3"],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Take a photograph of a scene of linear RGB radiance, where 1 is about white."""
    if scene.ndim != 3 or scene.shape[2] != 3:
        raise ValueError(f"scene must have shape (h, w, 3), got {scene.shape}")
    exposure = 1 + EXPOSURE_SPREAD * rng.standard_normal()
    gains = np.ones(3, np.float32)
    gains[[0, 2]] += WHITE_BALANCE_SPREAD * rng.standard_normal(2, np.float32)
    field = shading_of_field(rng, (scene.shape[0], scene.shape[1]))
    light = scene * (np.float32(exposure) * gains) * field[..., None]
    blur = rng.uniform(*DEFOCUS_PX)
    light = ndimage.gaussian_filter(light, (blur, blur, 0), mode="nearest", truncate=3)
    light = np.maximum(light.astype(np.float32, copy=False), 0)
    electrons = light * np.float32(FULL_WELL_ELECTRONS)
    noise = np.sqrt(electrons + np.float32(READ_NOISE_ELECTRONS**2))
    electrons += noise * rng.standard_normal(scene.shape, np.float32)
    encoded = srgb_curve(electrons * np.float32(1 / FULL_WELL_ELECTRONS))
    return np.round(encoded * np.float32(255)).astype(np.uint8)
