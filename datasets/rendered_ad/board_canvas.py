"""The scene of the board while it is being painted, and windows of the scene.

A part is painted inside a window of the scene, over the pixels already there. A signed
distance selects the pixels whose height, colour, metal and roughness are replaced.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from datasets.rendered_ad.board_layout import Component, on_board
from datasets.rendered_ad.shapes import Plane, box, lettering, part_coordinates

Colour = tuple[float, float, float]


SOLDER: Colour = (0.62, 0.63, 0.64)
"""Colour of the light that tin reflects, on pads and leads."""

BOARD_TOP = 0.020
"""Height of the board's upper side above the table, in image widths."""


@dataclass
class Canvas:
    """The scene being painted; `x`, `y` are the board coordinates of every pixel."""

    x: Plane
    y: Plane
    height: Plane
    albedo: Float32[np.ndarray, "h w 3"]
    metal: Plane
    roughness: Plane
    shift: tuple[float, float]
    degrees: float

    @property
    def size_px(self) -> int:
        return self.x.shape[0]

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Row and column slices of the pixels within `reach` of a board point."""
        turn = np.radians(self.degrees)
        column = np.cos(turn) * x - np.sin(turn) * y + self.shift[0] + 0.5
        row = np.sin(turn) * x + np.cos(turn) * y + self.shift[1] + 0.5
        n = self.size_px

        def span(middle: float) -> slice:
            low, high = round((middle - reach) * n), round((middle + reach) * n)
            return slice(max(low, 0), max(min(high, n), 0))

        return span(row), span(column)


@dataclass
class Patch:
    """A window of the canvas, in the coordinates of one part."""

    canvas: Canvas
    rows: slice
    columns: slice
    x: Plane
    y: Plane
    part: Component
    tone: float
    """Factor on the part's colours, which differ between batches."""

    def near(self, x: float, y: float, reach: float) -> "Patch":
        """A smaller window around a point of the part, which becomes the new origin."""
        at_x, at_y = on_board(self.part, x, y)
        return patch_of(
            self.canvas, self.part._replace(x=at_x, y=at_y), self.tone, reach
        )

    def paint(
        self,
        distance: Plane,
        colour: Colour | Plane,
        *,
        height: float | Plane,
        metal: float = 0.0,
        roughness: float = 0.5,
    ) -> None:
        """Paint a material where `distance` is negative, `height` above the board."""
        canvas, at = self.canvas, (self.rows, self.columns)
        share = np.clip(np.float32(0.5) - distance * np.float32(canvas.size_px), 0, 1)
        target = np.asarray(height, np.float32) + np.float32(BOARD_TOP)
        paint = np.asarray(colour, np.float32) * np.float32(self.tone)
        canvas.height[at] += (target - canvas.height[at]) * share
        canvas.albedo[at] += (paint - canvas.albedo[at]) * share[..., None]
        canvas.metal[at] += (np.float32(metal) - canvas.metal[at]) * share
        canvas.roughness[at] += (np.float32(roughness) - canvas.roughness[at]) * share

    def block(
        self,
        half: tuple[float, float],
        colour: Colour,
        *,
        top: float,
        bevel: float = 0.004,
        corner: float = 0.002,
        metal: float = 0.0,
        roughness: float = 0.5,
    ) -> None:
        """Paint a box around the origin with bevelled upper edges."""
        distance = box(self.x, self.y, half[0], half[1], corner)
        drop = np.clip(distance + np.float32(bevel), 0, bevel)
        self.paint(
            distance, colour, height=top - drop, metal=metal, roughness=roughness
        )

    def mark(
        self, text: str, at: tuple[float, float], height: float, ink: Colour
    ) -> None:
        """Print `text` on the surface, `height` image widths tall, centred on `at`."""
        soft, scale = _softened(text, height, self.canvas.size_px)
        column = (self.x - np.float32(at[0])) * np.float32(scale)
        row = (self.y - np.float32(at[1])) * np.float32(scale)
        column += np.float32(soft.shape[1] / 2 - 0.5)
        row += np.float32(soft.shape[0] / 2 - 0.5)
        share = ndimage.map_coordinates(soft, [row, column], order=1, mode="constant")
        where = (self.rows, self.columns)
        paint = np.asarray(ink, np.float32)
        albedo = self.canvas.albedo
        albedo[where] += (paint - albedo[where]) * (0.85 * share)[..., None]


@functools.lru_cache(maxsize=64)
def _softened(text: str, height: float, size_px: int) -> tuple[Plane, float]:
    """Lettering blurred to the scene's resolution, and its pixels per image width."""
    letters = lettering(text, 40, 3)
    scale = letters.shape[0] / height
    return ndimage.gaussian_filter(np.pad(letters, 12), 0.45 * scale / size_px), scale


def patch_of(canvas: Canvas, part: Component, tone: float, reach: float) -> Patch:
    """The window of the canvas around a part, in the part's coordinates."""
    rows, columns = canvas.window(part.x, part.y, reach)
    x, y = part_coordinates(
        canvas.x[rows, columns],
        canvas.y[rows, columns],
        shift=(part.x, part.y),
        degrees=part.degrees,
    )
    return Patch(canvas, rows, columns, x, y, part, tone)
