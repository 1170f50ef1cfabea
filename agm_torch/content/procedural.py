"""Content from formulas: random fields, patterns, plain colours."""

import numpy as np
from jaxtyping import Float32

from agm_torch.content.colour import pixel_colour, random_colour
from agm_torch.masks.perlin import fractal_noise, random_cells
from agm_torch.scene import Request


def noise(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """A random field between two colours, coarse or fine."""
    rng, shape = request.rng, request.mask.box.shape
    scale = max(shape) / max(request.scene.image.shape)
    down, across = random_cells(rng, low=2.0, high=64.0)
    cells = (max(1.0, down * scale), max(1.0, across * scale))
    persistence = rng.uniform(0.4, 0.9)
    field = fractal_noise(shape, cells, 4, rng, persistence=persistence)
    steepness = np.float32(rng.choice([1.0, 2.0, 6.0]))
    return _between(request, 0.5 + 0.5 * np.tanh(steepness * field))


def pattern(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Stripes, dots or checks of two colours, straight or bent."""
    rng, (height, width) = request.rng, request.mask.box.shape
    period = max(request.scene.image.shape) * np.exp(rng.uniform(-4.2, -2.0))
    angle = rng.uniform(0, np.pi)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None]
    across = rows * np.float32(np.cos(angle)) + columns * np.float32(np.sin(angle))
    along = columns * np.float32(np.cos(angle)) - rows * np.float32(np.sin(angle))
    if rng.random() < 0.4:
        bend = np.float32(period * rng.uniform(0.3, 1.5))
        across = across + bend * fractal_noise((height, width), (3, 3), 1, rng)
    turn = np.float32(2 * np.pi / period)
    stripes = np.sin(turn * across)
    which = rng.integers(3)
    if which == 1:
        stripes = stripes * np.sin(turn * along)
    elif which == 2:
        stripes = np.maximum(stripes, np.sin(turn * along))
    steepness = np.float32(rng.choice([1.0, 4.0]))
    return _between(request, 0.5 + 0.5 * np.tanh(steepness * stripes))


def flat(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """One colour with a little grain: a hole, a missing part, a foreign body.

    If the background is known, half of the draws show it, as where material is missing.
    Of these, 40 % of the masks beyond the outline take a colour of the part instead, as
    surplus material.
    """
    scene, mask, rng = request.scene, request.mask, request.rng
    height, width = mask.box.shape
    if scene.background is not None and rng.random() < 0.5:
        if mask.beyond_outline and rng.random() < 0.4:
            pixels = mask.region.pixels
            row, column = divmod(int(rng.choice(pixels)), scene.image.shape[1])
            colour = scene.image[row, column].astype(np.float32)
        else:
            colour = scene.background[mask.box.slices]
    elif rng.random() < 0.3:
        colour = pixel_colour(scene, rng)
    else:
        colour = random_colour(scene, rng)
    grain = np.float32(rng.choice([0.5, 2.0, 8.0]))
    coarse = grain * fractal_noise((height, width), random_cells(rng), 3, rng)
    fine = grain * np.float32(0.5) * rng.standard_normal((height, width), np.float32)
    return colour + (coarse + fine)[:, :, None]


def _between(
    request: Request, share: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w 3"]:
    """Mixture of two random colours: the first where `share` is 0."""
    first = random_colour(request.scene, request.rng)
    second = random_colour(request.scene, request.rng)
    return first + (second - first) * share[:, :, None]
