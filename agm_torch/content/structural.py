"""Content that changes the part itself: bent, displaced, doubled, missing."""

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from agm_torch.content.surface import covered
from agm_torch.masks.perlin import fractal_noise, random_cells
from agm_torch.scene import Box, Request


def warp(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Pinch, bulge, swirl or bend of the image in the mask. The mask's edge stays."""
    rng, mask = request.rng, request.mask
    rows, columns = _grid(mask.box)
    alpha = mask.alpha[mask.box.slices]
    size = np.float32(np.sqrt(alpha.sum()))
    reach = alpha * ndimage.gaussian_filter(alpha, max(1.0, 0.15 * float(size)))
    middle_y = np.float32((rows * reach).sum() / reach.sum())
    middle_x = np.float32((columns * reach).sum() / reach.sum())
    offset_y, offset_x = rows - middle_y, columns - middle_x
    sign = np.float32(rng.choice([-1.0, 1.0]))
    which = rng.integers(3)
    if which == 0:  # pinch or bulge
        amount = sign * np.float32(rng.uniform(0.3, 0.8)) * reach
        rows, columns = rows + amount * offset_y, columns + amount * offset_x
    elif which == 1:  # swirl
        angle = sign * np.float32(rng.uniform(0.5, 2.0)) * reach
        sine, cosine = np.sin(angle), np.cos(angle)
        rows = middle_y + offset_y * cosine - offset_x * sine
        columns = middle_x + offset_y * sine + offset_x * cosine
    else:  # bend
        heading = rng.uniform(0, 2 * np.pi)
        amount = np.float32(rng.uniform(0.15, 0.4)) * size * reach
        rows = rows + amount * np.float32(np.sin(heading))
        columns = columns + amount * np.float32(np.cos(heading))
    return _sampled(request.scene.image, rows, columns)


def shift(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """The image a little to the side: a slipped piece, a displaced seam."""
    rng = request.rng
    size = np.sqrt(request.mask.alpha.sum())
    distance = max(3.0, min(size, 0.15 * max(request.scene.image.shape)))
    distance *= rng.uniform(0.3, 1.0)
    heading = rng.uniform(0, 2 * np.pi)
    down, across = distance * np.sin(heading), distance * np.cos(heading)
    return _window(request.scene.image, request.mask.box, round(down), round(across))


def copy(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Another place of the part, from this or another shot: doubled, misplaced."""
    scene, mask, rng = request.scene, request.mask, request.rng
    image = scene.image if rng.random() < 0.7 else scene.shots[_any_shot(request)]
    source = divmod(int(rng.choice(mask.region.pixels)), image.shape[1])
    middle = (
        (mask.box.top + mask.box.bottom) // 2,
        (mask.box.left + mask.box.right) // 2,
    )
    return _window(image, mask.box, source[0] - middle[0], source[1] - middle[1])


def remove(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """The surroundings, continued into the mask with grain: something is missing."""
    rng, image = request.rng, covered(request)
    outside = (request.mask.alpha[request.mask.box.slices] == 0).astype(np.float32)
    filled, weight = image * outside[:, :, None], outside
    result, known = np.zeros_like(image), np.zeros_like(outside)
    for sigma in (
        1.5,
        5.0,
        15.0,
        45.0,
    ):  # the finest scale that reaches a pixel counts most
        near = ndimage.gaussian_filter(filled, (sigma, sigma, 0), truncate=2)
        amount = ndimage.gaussian_filter(weight, sigma, truncate=2)
        share = (1 - known) * np.clip(amount * 8, 0, 1)
        result += share[:, :, None] * near / np.maximum(amount, 1e-6)[:, :, None]
        known += share
    result += (1 - known)[:, :, None] * image.mean(axis=(0, 1))
    strength = np.float32(min(request.scene.spread, 10.0) * rng.uniform(0.3, 1.0))
    texture = fractal_noise(outside.shape, random_cells(rng, low=8.0), 2, rng)
    return result + strength * texture[:, :, None]


def _grid(box: Box) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(box.top, box.bottom, dtype=np.float32)
    columns = np.arange(box.left, box.right, dtype=np.float32)
    return rows[:, None] + np.zeros_like(columns), columns + np.zeros_like(rows)[
        :, None
    ]


def _sampled(
    image: UInt8[np.ndarray, "h w 3"], rows: np.ndarray, columns: np.ndarray
) -> Float32[np.ndarray, "h w 3"]:
    """Bilinear values of an image at fractional positions, with its edge repeated."""
    height, width = image.shape[:2]
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    top = np.minimum(rows.astype(np.intp), height - 2)
    left = np.minimum(columns.astype(np.intp), width - 2)
    down, across = (rows - top)[:, :, None], (columns - left)[:, :, None]
    upper = image[top, left] * (1 - across) + image[top, left + 1] * across
    lower = image[top + 1, left] * (1 - across) + image[top + 1, left + 1] * across
    return (upper * (1 - down) + lower * down).astype(np.float32)


def _window(
    image: UInt8[np.ndarray, "h w 3"], box: Box, down: int, across: int
) -> Float32[np.ndarray, "h w 3"]:
    """The image in the box, moved by whole pixels and mirrored at the edges."""
    rows = _mirrored(np.arange(box.top, box.bottom) + down, image.shape[0])
    columns = _mirrored(np.arange(box.left, box.right) + across, image.shape[1])
    return image[rows[:, None], columns].astype(np.float32)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    folded = np.mod(index, 2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def _any_shot(request: Request) -> int:
    return int(request.rng.integers(len(request.scene.shots)))
