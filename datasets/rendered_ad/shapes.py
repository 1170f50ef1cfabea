"""Two-dimensional shapes as signed distances: negative inside, in image widths.

Coordinates: x right, y down, the image's centre at (0, 0), its left border at -0.5.
Every part has its own coordinates; `part_coordinates` converts the pixel grid to them.
The distance formulas are those of Inigo Quilez,
https://iquilezles.org/articles/distfunctions2d/.
"""

import functools
import math

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image, ImageDraw, ImageFont

Plane = Float32[np.ndarray, "h w"]


@functools.lru_cache(maxsize=4)
def pixel_grid(size_px: int) -> tuple[Plane, Plane]:
    """x and y of all pixel centres of a square image; read-only."""
    axis = ((np.arange(size_px) + 0.5) / size_px - 0.5).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def part_coordinates(
    x: Plane, y: Plane, *, shift: tuple[float, float], degrees: float
) -> tuple[Plane, Plane]:
    """Part coordinates of image points, for a part that is rotated, then shifted."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = x - np.float32(shift[0]), y - np.float32(shift[1])
    return (
        np.float32(cosine) * x + np.float32(sine) * y,
        np.float32(cosine) * y - np.float32(sine) * x,
    )


def smoothstep(low: float, high: float, value: Plane) -> Plane:
    """0 below `low`, 1 above `high`, a cubic in between."""
    t = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def circle(x: Plane, y: Plane, radius: float) -> Plane:
    """Signed distance to a circle around the origin."""
    return np.hypot(x, y) - np.float32(radius)


def box(
    x: Plane, y: Plane, half_width: float, half_height: float, corner: float = 0.0
) -> Plane:
    """Signed distance to a rectangle around the origin; `corner` rounds its corners."""
    dx = np.abs(x) - np.float32(half_width - corner)
    dy = np.abs(y) - np.float32(half_height - corner)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - np.float32(corner)


def smooth_union(a: Plane, b: Plane, fillet: float) -> Plane:
    """Signed distance to the union of two shapes; `fillet` rounds its inner corners."""
    blend = np.maximum(np.float32(fillet) - np.abs(a - b), 0) * np.float32(1 / fillet)
    return np.minimum(a, b) - blend * blend * np.float32(fillet / 4)


def coverage(distance: Plane, size_px: int) -> Plane:
    """Share in [0, 1] of every pixel that lies inside the shape."""
    return np.clip(np.float32(0.5) - distance * np.float32(size_px), 0, 1)


def stroke(
    x: Plane,
    y: Plane,
    points: Float[np.ndarray, "n 2"],
    half_widths: Float[np.ndarray, " n"],
) -> Plane:
    """Signed distance to a line through `points`, with a half width at every point.

    The distance is exact within a few widths of the line. Further away it is a large
    constant.
    """
    margin = 4 * float(np.max(half_widths)) + 0.01
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    near = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    px, py = x[near], y[near]
    nearest = np.full(px.shape, margin, np.float32)
    for i in range(len(points) - 1):
        step = points[i + 1] - points[i]
        squared = max(float(step @ step), 1e-12)
        dx, dy = px - np.float32(points[i, 0]), py - np.float32(points[i, 1])
        along = np.clip(
            (dx * np.float32(step[0]) + dy * np.float32(step[1]))
            * np.float32(1 / squared),
            0,
            1,
        )
        off = np.hypot(
            dx - along * np.float32(step[0]), dy - along * np.float32(step[1])
        )
        width = half_widths[i] + along * (half_widths[i + 1] - half_widths[i])
        np.minimum(nearest, off - width.astype(np.float32), out=nearest)
    distance = np.full(x.shape, margin, np.float32)
    distance[near] = nearest
    return distance


@functools.lru_cache(maxsize=64)
def lettering(
    text: str, height_px: int, spacing_px: int = 0, weight_px: int = 0
) -> Plane:
    """Printed text as coverage in [0, 1], cropped to the ink; read-only.

    `weight_px` is added on both sides of every stroke.
    """
    font = ImageFont.load_default(height_px)
    advances = [font.getlength(letter) + spacing_px for letter in text]
    canvas = Image.new("L", (int(sum(advances)) + 2 * height_px, 2 * height_px))
    pen = ImageDraw.Draw(canvas)
    left = height_px / 2
    for letter, advance in zip(text, advances, strict=True):
        pen.text(
            (left, height_px / 4), letter, fill=255, font=font, stroke_width=weight_px
        )
        left += advance
    ink = np.asarray(canvas.crop(canvas.getbbox()), np.float32) / np.float32(255)
    ink.flags.writeable = False
    return ink
