"""Small images for the tests of the anomaly generator."""

import numpy as np
from PIL import Image, ImageDraw


def texture(seed: int = 0, px: int = 64) -> np.ndarray:
    """Brown noise with some structure, u8[px px 3]."""
    rng = np.random.default_rng(seed)
    grain = (
        rng.normal(0, 8, (px, px, 1)) + 10 * np.sin(np.arange(px) / 2)[:, None, None]
    )
    return (np.array([120.0, 90, 70]) + grain).clip(0, 255).astype(np.uint8)


def part(seed: int = 0, px: int = 64) -> np.ndarray:
    """A dark disc with a bore on a light, unevenly lit table, u8[px px 3]."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (px, px), (190, 185, 170))
    draw = ImageDraw.Draw(picture)
    draw.ellipse([px * 0.2, px * 0.25, px * 0.8, px * 0.85], fill=(80, 85, 95))
    draw.ellipse([px * 0.4, px * 0.45, px * 0.5, px * 0.55], fill=(30, 30, 35))
    light = np.linspace(0.85, 1.1, px)[None, :, None]
    noisy = np.asarray(picture) * light + rng.normal(0, 2, (px, px, 1))
    return noisy.clip(0, 255).astype(np.uint8)
