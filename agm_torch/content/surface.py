"""Content that changes the surface: stained, dented, worn smooth, roughened."""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from agm_torch.masks.perlin import fractal_noise, random_cells
from agm_torch.scene import Request


def covered(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """The normal image in the mask's box, in grey levels."""
    return request.scene.image[request.mask.box.slices].astype(np.float32)


def tone(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """A stain: darker, brighter or tinted; even, cloudy, or with a dark rim."""
    rng, image = request.rng, covered(request)
    strength = rng.uniform(0.12, 0.7)
    darker = rng.random() < 0.65
    gain = 1 - strength if darker else 1 + strength
    tint = np.zeros(3) if request.scene.is_grey else rng.normal(0, 18, 3)
    amount = np.ones(image.shape[:2], np.float32)
    style = rng.random()
    if style < 0.35:
        clouds = fractal_noise(image.shape[:2], random_cells(rng, high=8.0), 3, rng)
        amount = (0.6 + 0.6 * clouds).clip(0, 1.3)
    elif style < 0.55:  # a dried stain has a rim
        alpha = request.mask.alpha[request.mask.box.slices]
        inner = ndimage.gaussian_filter(alpha, 0.012 * max(request.scene.image.shape))
        amount = (1.5 - 1.3 * inner).astype(np.float32)
    lift = (0.0 if darker else 40 * strength) + tint
    change = image * np.float32(gain - 1) + lift.astype(np.float32)
    return image + change * amount[:, :, None]


def relief(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Light on one side and shadow on the other: dent, bump, groove."""
    rng, image = request.rng, covered(request)
    alpha = request.mask.alpha[request.mask.box.slices]
    width = 0.25 * np.sqrt(alpha.sum())
    sigma = rng.uniform(0.5, max(0.8, min(width, 6.0)))
    height = ndimage.gaussian_filter(alpha, sigma)
    if rng.random() < 0.3:
        bumps = fractal_noise(alpha.shape, random_cells(rng, low=4.0), 2, rng)
        height = height * (1 + np.float32(0.6) * bumps)
    slope_y, slope_x = np.gradient(height)
    light = rng.uniform(0, 2 * np.pi)
    shade = slope_y * np.float32(np.sin(light)) + slope_x * np.float32(np.cos(light))
    shade *= np.float32(rng.uniform(20, 90)) / max(float(np.abs(shade).max()), 1e-6)
    floor = np.float32(rng.normal(0, 12)) * height / max(float(height.max()), 1e-6)
    return image + (shade + floor)[:, :, None]


def blur(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Worn smooth or out of focus, somewhat glossier or duller."""
    rng, image = request.rng, covered(request)
    sigma = max(request.scene.image.shape) / 256 * rng.uniform(1.2, 5.0)
    smooth = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=2.5)
    return smooth * np.float32(rng.uniform(0.92, 1.1)) + np.float32(rng.normal(0, 4))


def grain(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Rough or dusty: added noise, fine or coarse, of one sign or both."""
    rng, image = request.rng, covered(request)
    shape = image.shape[:2]
    field = rng.standard_normal(shape, np.float32)
    sigma = rng.choice([0.0, 0.7, 1.5])
    if sigma:
        field = ndimage.gaussian_filter(field, sigma)
        field /= max(float(field.std()), 1e-6)
    side = rng.integers(3)
    if side:
        field = np.abs(field) if side == 1 else -np.abs(field)
    strength = max(request.scene.spread * rng.uniform(0.8, 2.5), 12.0)
    return image + np.float32(strength) * field[:, :, None]
