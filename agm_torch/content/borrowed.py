"""Content from photographs: patches and regions of the image itself, and DTD."""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from agm_torch.scene import Request
from datasets.images import bit_depth, read_image, stored_maximum
from datasets.listing import list_photographs, notes

logger = logging.getLogger(__name__)

_PHOTOGRAPH_PX = 384
"""Texture photographs are reduced to this size."""


def patches(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Square patches from anywhere in the image, each rotated by quarter turns."""
    rng, image = request.rng, request.scene.image
    height, width = request.mask.box.shape
    side = max(4, round(min(image.shape[:2]) * np.exp(rng.uniform(-3.5, -1.6))))
    down, across = -(-height // side), -(-width // side)
    rows = rng.integers(0, image.shape[0] - side + 1, down * across)
    columns = rng.integers(0, image.shape[1] - side + 1, down * across)
    turns = rng.integers(0, 4, down * across)
    canvas = np.empty((down * side, across * side, 3), np.float32)
    for tile, (row, column, turn) in enumerate(zip(rows, columns, turns, strict=True)):
        top, left = tile // across * side, tile % across * side
        patch = image[row : row + side, column : column + side]
        canvas[top : top + side, left : left + side] = np.rot90(patch, turn)
    return canvas[:height, :width]


def region(request: Request) -> Float32[np.ndarray, "h w 3"]:
    """Another region of this or another shot, rotated, mirrored and scaled."""
    rng, scene = request.rng, request.scene
    image = scene.shots[int(rng.integers(len(scene.shots)))]
    return _rotated_crop(image, request, scale=rng.uniform(0.4, 2.0))


class TexturePhotographs:
    """The photographs of a folder such as DTD's, found once and read when drawn."""

    def __init__(self, folder: Path | None) -> None:
        """Find the images of a folder, and log what else lies there.

        Raises:
          FileNotFoundError: the folder holds no image.
        """
        self.paths: list[Path] = []
        if folder is not None:
            listing = list_photographs(folder)
            self.paths = listing.files
            others = [*listing.unreadable, *listing.skipped]
            for line in notes(others, self.paths):
                logger.warning("%s", line)
            if not self.paths:
                raise FileNotFoundError(f"dtd_dir {folder} holds no image")

    def crop(self, request: Request) -> Float32[np.ndarray, "h w 3"]:
        """A crop of a random photograph, with its tones changed at random."""
        rng = request.rng
        image = _photograph(self.paths[int(rng.integers(len(self.paths)))])
        pixels = _rotated_crop(image, request, scale=rng.uniform(0.5, 2.0))
        return _toned(pixels, rng)


@lru_cache(maxsize=64)
def _photograph(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    pixels = read_image(path, depth=bit_depth(stored_maximum(path)))
    picture = Image.fromarray(pixels)
    picture.thumbnail((_PHOTOGRAPH_PX, _PHOTOGRAPH_PX))
    return np.asarray(picture)


def _rotated_crop(
    image: UInt8[np.ndarray, "h w 3"], request: Request, *, scale: float
) -> Float32[np.ndarray, "h w 3"]:
    """A random window `scale` times as large as the box, resized to it and rotated."""
    rng, (height, width) = request.rng, request.mask.box.shape
    turn, mirror = int(rng.integers(4)), bool(rng.integers(2))
    if turn % 2:
        height, width = width, height
    rows = int(np.clip(round(height * scale), 2, image.shape[0]))
    columns = int(np.clip(round(width * scale), 2, image.shape[1]))
    top = int(rng.integers(image.shape[0] - rows + 1))
    left = int(rng.integers(image.shape[1] - columns + 1))
    window = Image.fromarray(image[top : top + rows, left : left + columns])
    resized = window.resize((width, height), Image.Resampling.BILINEAR)
    rotated = np.rot90(np.asarray(resized), turn)
    return (rotated[:, ::-1] if mirror else rotated).astype(np.float32)


def _toned(
    pixels: Float32[np.ndarray, "h w 3"], rng: np.random.Generator
) -> Float32[np.ndarray, "h w 3"]:
    """Random gamma, gain, offset, channel order and sign."""
    pixels = pixels[:, :, rng.permutation(3)]
    if rng.random() < 0.2:
        pixels = 255 - pixels
    gamma, gain = np.exp(rng.uniform(-0.5, 0.5, 2)).astype(np.float32)
    return 255 * gain * (pixels / 255) ** gamma + np.float32(rng.normal(0, 20))
