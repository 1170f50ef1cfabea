"""Overlapping tiles for images much larger than the training images."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

OVERLAP = 0.25
"""Least share of a tile that overlaps the next tile."""


class Tile(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Row and column slices of the tile; numpy cuts them off at the image's end."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)

    def of(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels of this tile; beyond the image's end the image is mirrored."""
        part = image[self.place]
        down, across = self.height - part.shape[0], self.width - part.shape[1]
        if not (down or across):
            return part
        return np.pad(part, ((0, down), (0, across), (0, 0)), mode="symmetric")


def tiles(size: tuple[int, int], tile: tuple[int, int]) -> list[Tile]:
    """Evenly spaced tiles that cover an image, row by row.

    Args:
      size: height and width of the image.
      tile: height and width of a tile.

    Raises:
      ValueError: if a side of a tile is below 16 px.
    """
    if min(tile) < 16:
        raise ValueError(f"a tile must be at least 16 px a side, got {tile}")
    rows, columns = (_starts(*axis) for axis in zip(size, tile, strict=True))
    return [Tile(top, left, *tile) for top in rows for left in columns]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    step = side * (1 - OVERLAP)
    count = int(np.ceil((length - side) / step)) + 1
    return np.round(np.linspace(0, length - side, count)).astype(int).tolist()


class Mosaic:
    """The map of a large image, assembled from the maps of its tiles."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._sum = np.zeros(size, np.float32)
        self._weight = np.zeros(size, np.float32)

    def add(self, tile: Tile, tile_map: Float[np.ndarray, "h w"]) -> None:
        """Add the map of a tile, at the image's own resolution."""
        inside = self._sum[tile.place]
        height, width = inside.shape
        weight = _ramp(tile.height)[:height, None] * _ramp(tile.width)[None, :width]
        inside += weight * tile_map[:height, :width]
        self._weight[tile.place] += weight

    def map(self) -> Float[np.ndarray, "H W"]:
        """The weighted mean of all tiles' maps."""
        return self._sum / self._weight


def _ramp(side: int) -> Float[np.ndarray, "n"]:
    """Weights that fall from 1 to nearly 0 in both overlaps, to avoid visible seams."""
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)
    return np.minimum(1.0, distance / (OVERLAP * side)).astype(np.float32)
