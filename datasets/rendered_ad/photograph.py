"""The camera of an inspection station: linear scene radiance becomes an 8-bit photo.

In the order of the light's way: lamp and lens shade the field, the exposure and
the white balance are those of this shot, the lens blurs, the sensor counts
electrons (shot and read noise), the curve of sRGB (IEC 61966-2-1) is applied.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage


@dataclass(frozen=True)
class Camera:
    """How far shots of one station differ; spreads are standard deviations."""

    exposure_spread: float = 0.03
    white_balance_spread: float = 0.012
    """Of the red and of the blue gain."""
    light_gradient: float = 0.04
    """Spread of the relative brightness change from centre to border, any direction."""
    vignetting: float = 0.06
    """Light lost in the corners; each shot has between half of it and all."""
    defocus_px: tuple[float, float] = (0.35, 0.6)
    """Least and greatest standard deviation of the lens's blur."""
    full_well_electrons: float = 7000.0
    """Electrons that make white: fewer are noisier."""
    read_noise_electrons: float = 12.0

    def __post_init__(self) -> None:
        if self.full_well_electrons <= 0:
            raise ValueError(
                f"full_well_electrons is {self.full_well_electrons}; it must be above 0"
            )
        if not 0 <= self.defocus_px[0] <= self.defocus_px[1]:
            raise ValueError(
                f"defocus_px is {self.defocus_px}; it must be (least, greatest) from 0"
            )


INSPECTION = Camera()


def srgb_curve(
    linear: Float32[np.ndarray, "*shape"],
) -> Float32[np.ndarray, "*shape"]:
    """The sRGB transfer function; values outside [0, 1] are clipped."""
    linear = np.clip(linear, 0, 1)
    bright = np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= np.float32(0.0031308), np.float32(12.92) * linear, bright)


def shading_of_field(
    rng: np.random.Generator, shape: tuple[int, int], camera: Camera
) -> Float32[np.ndarray, "h w"]:
    """Relative brightness over the field: the lamp's slope and the lens's corners."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    slope_y, slope_x = camera.light_gradient * rng.standard_normal(2, np.float32)
    corners = np.float32(camera.vignetting * rng.uniform(0.5, 1.0))
    return (1 + slope_y * y + slope_x * x) * (1 - corners / 2 * (x * x + y * y))


def photograph(
    scene: Float32[np.ndarray, "h w 3"],
    rng: np.random.Generator,
    *,
    camera: Camera = INSPECTION,
) -> UInt8[np.ndarray, "h w 3"]:
    """One shot of a scene of linear RGB radiance, where 1 is about white."""
    if scene.ndim != 3 or scene.shape[2] != 3:
        raise ValueError(f"scene has shape {scene.shape}; it must be (h, w, 3)")
    exposure = 1 + camera.exposure_spread * rng.standard_normal()
    gains = np.ones(3, np.float32)
    gains[[0, 2]] += camera.white_balance_spread * rng.standard_normal(2, np.float32)
    field = shading_of_field(rng, (scene.shape[0], scene.shape[1]), camera)
    light = scene * (np.float32(exposure) * gains) * field[..., None]
    blur = rng.uniform(*camera.defocus_px)
    light = ndimage.gaussian_filter(light, (blur, blur, 0), mode="nearest", truncate=3)
    light = np.maximum(light.astype(np.float32, copy=False), 0)
    electrons = light * np.float32(camera.full_well_electrons)
    noise = np.sqrt(electrons + np.float32(camera.read_noise_electrons**2))
    electrons += noise * rng.standard_normal(scene.shape, np.float32)
    encoded = srgb_curve(electrons * np.float32(1 / camera.full_well_electrons))
    return np.round(encoded * np.float32(255)).astype(np.uint8)
