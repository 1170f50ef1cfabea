"""Outlines of anomalies: each is a mask of approximately the wanted area.

A shape is a function (canvas, rng) -> f32[h w] in [0, 1]. The canvas gives the area,
the centre and the allowed pixels.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image, ImageDraw
from scipy import ndimage

from agm_torch.masks.perlin import fractal_noise, perlin_noise, random_cells

_FINER = 2
"""Drawn shapes are drawn larger by this factor and averaged, for smooth edges."""


class Canvas(NamedTuple):
    """What a shape must fit."""

    allowed: Bool[np.ndarray, "h w"]
    area: int
    """Wanted area, pixels."""
    centre: tuple[float, float]
    """Row and column of the centre of a local shape."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.allowed.shape[0], self.allowed.shape[1]

    @property
    def side(self) -> int:
        return min(self.shape)

    def lattice(self, cells: tuple[float, float]) -> tuple[float, float]:
        """Numbers of lattice cells for this shape, from those for a square."""
        stretch = math.sqrt(self.shape[0] / self.shape[1])
        return cells[0] * stretch, cells[1] / stretch


def perlin(canvas: Canvas, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Peaks of Perlin noise, made ragged by injected noise, dilated (paper, 3.2)."""
    cells = canvas.lattice(random_cells(rng))
    height = fractal_noise(canvas.shape, cells, int(rng.integers(1, 4)), rng)
    if rng.random() < 0.3:
        height = _rotated(height, rng)
    if rng.random() < 0.5:  # Gaussian-noise injection
        strength = np.float32(rng.uniform(0.02, 0.25))
        height += strength * rng.standard_normal(canvas.shape, np.float32)
    if rng.random() < 0.6:  # one place: only the peaks near the centre
        reach = rng.uniform(0.8, 4.0) * np.sqrt(canvas.area)
        height -= np.square(_distance(canvas, 1.0, 0.0) / np.float32(reach))
    mask = _highest(height, canvas)
    steps = int(rng.integers(0, 3))
    if steps:
        mask = ndimage.binary_dilation(mask, iterations=steps)
    return mask.astype(np.float32)


def spot(canvas: Canvas, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """One blob: round or long, smooth or ragged."""
    distance = _distance(canvas, rng.uniform(1.0, 3.0), rng.uniform(0, np.pi))
    radius = np.sqrt(canvas.area / np.pi)
    cells = min(canvas.side / 4, canvas.side / radius * rng.uniform(0.5, 2.0))
    ragged = np.float32(rng.choice([0.05, 0.3, 0.7, 1.2]))
    noise = fractal_noise(canvas.shape, canvas.lattice((cells, cells)), 3, rng)
    field = -distance * (1 + ragged * noise) - distance * np.float32(0.1)
    return _highest(field, canvas).astype(np.float32)


def band(canvas: Canvas, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """A stripe through the centre, straight or wavy, short or across the image."""
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    rows, columns = _offsets(canvas)
    across = rows * np.float32(np.cos(angle)) + columns * np.float32(np.sin(angle))
    along = columns * np.float32(np.cos(angle)) - rows * np.float32(np.sin(angle))
    if rng.random() < 0.5:
        wave = np.float32(canvas.side * rng.uniform(0.01, 0.08))
        cells = canvas.lattice(random_cells(rng))
        across = across + wave * perlin_noise(canvas.shape, cells, rng)
    field = -np.abs(across)
    if rng.random() < 0.6:  # shorter and wider for the same area
        length = np.float32(canvas.side * rng.uniform(0.15, 0.5))
        field = field - 10 * np.maximum(np.abs(along) - length, 0)
    return _highest(field, canvas).astype(np.float32)


def scatter(canvas: Canvas, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Several small blobs near each other."""
    count = int(rng.integers(3, 16))
    radii = rng.lognormal(0.0, 0.5, count)
    radii *= np.sqrt(canvas.area / np.pi / np.square(radii).sum())
    reach = max(rng.uniform(0.05, 0.3) * canvas.side, 2 * np.sqrt(canvas.area))
    points = rng.normal(0.0, reach, (count, 2)) + canvas.centre
    picture, draw = _blank_picture(canvas)
    for (row, column), radius in zip(points, radii, strict=True):
        flat = radius * rng.uniform(0.7, 1.4)
        box = (column - radius, row - flat, column + radius, row + flat)
        draw.ellipse([_FINER * value for value in box], fill=255)
    return _averaged(picture)


def polygon(canvas: Canvas, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """A straight-edged piece: a rotated rectangle, or corners at random radii."""
    if rng.random() < 0.4:
        aspect = np.sqrt(rng.uniform(1.0, 5.0))
        corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * (aspect, 1 / aspect)
        turn = rng.choice([0.0, rng.uniform(0, np.pi)])
    else:
        count = int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        radii = rng.uniform(0.4, 1.0, count)
        corners = np.stack([np.sin(angles), np.cos(angles)], 1) * radii[:, None]
        turn = 0.0
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = corners @ rotation
    scale = np.sqrt(canvas.area / max(_polygon_area(corners), 0.05))
    points = corners * scale + canvas.centre
    picture, draw = _blank_picture(canvas)
    draw.polygon([(_FINER * x, _FINER * y) for y, x in points], fill=255)
    return _averaged(picture)


def curve(canvas: Canvas, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Scratches and cracks: smooth or jagged random walks, some with branches."""
    picture, draw = _blank_picture(canvas)
    width = max(1.0, canvas.side / 256) * rng.choice([1.0, 1.5, 2.0, 3.0, 5.0])
    length = float(np.clip(canvas.area / width, 0.06 * canvas.side, 2 * canvas.side))
    walks = int(rng.choice([1, 1, 1, 2, 4]))
    jagged = rng.choice([0.03, 0.15, 0.6])
    heading = rng.uniform(0, 2 * np.pi)
    for _ in range(walks):
        spread = 0.3 * length / walks if walks > 1 else 0.0
        start = np.asarray(canvas.centre) + rng.normal(0, spread, 2)
        points = _walk(start, heading, length / walks, jagged, rng)
        _stroke(draw, points, width, rng)
        if rng.random() < 0.3:  # a branch
            fork = points[int(rng.integers(len(points)))]
            away = heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
            branch = _walk(fork, away, length / walks / 2, jagged, rng)
            _stroke(draw, branch, width * 0.7, rng)
        heading += rng.choice([0.0, rng.uniform(-np.pi, np.pi)])
    return _averaged(picture)


SHAPES: dict[str, Callable[[Canvas, np.random.Generator], np.ndarray]] = {
    "perlin": perlin,
    "spot": spot,
    "scatter": scatter,
    "curve": curve,
    "polygon": polygon,
    "band": band,
}


def _walk(
    start: np.ndarray,
    heading: float,
    length: float,
    jagged: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Points [n 2] of a random walk of `length` pixels, with its middle at `start`."""
    count = max(4, int(length / 4))
    steps = rng.lognormal(0.0, 0.5, count)
    steps *= length / steps.sum()
    bend = rng.normal(0, 0.04)
    turns = rng.normal(bend, jagged, count).cumsum() + heading
    points = np.stack([np.sin(turns) * steps, np.cos(turns) * steps], 1).cumsum(axis=0)
    return points - points[count // 2] + start


def _stroke(
    draw: ImageDraw.ImageDraw,
    points: np.ndarray,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Draw a walk of varying width."""
    swell = np.exp(0.35 * np.sin(np.linspace(0, rng.uniform(2, 12), len(points))))
    for start, end, factor in zip(points[:-1], points[1:], swell[1:], strict=True):
        ends = [_FINER * start[1], _FINER * start[0], _FINER * end[1], _FINER * end[0]]
        draw.line(ends, fill=255, width=max(1, round(_FINER * width * factor)))


def _offsets(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Rows [h 1] and columns [1 w] relative to the centre."""
    rows = np.arange(canvas.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(canvas.shape[1], dtype=np.float32)[None]
    return rows - np.float32(canvas.centre[0]), columns - np.float32(canvas.centre[1])


def _distance(canvas: Canvas, aspect: float, angle: float) -> np.ndarray:
    """Distance from the centre in pixels, stretched by `aspect` along `angle`."""
    rows, columns = _offsets(canvas)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    stretch = np.float32(np.sqrt(aspect))
    along = (rows * sine + columns * cosine) / stretch
    across = (rows * cosine - columns * sine) * stretch
    return np.sqrt(np.square(along) + np.square(across))


def _highest(field: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The `area` highest allowed pixels, never none."""
    values = field[canvas.allowed]
    count = min(max(1, canvas.area), values.size)
    threshold = np.partition(values, values.size - count)[values.size - count]
    return canvas.allowed & (field >= threshold)


def _rotated(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The field at a random angle, with its minimum in the new corners."""
    angle = rng.uniform(0, 360)
    rotated = Image.fromarray(field).rotate(angle, Image.Resampling.BILINEAR)
    covered = Image.new("L", rotated.size, 1).rotate(angle)
    return np.where(np.asarray(covered), np.asarray(rotated), field.min())


def _polygon_area(corners: np.ndarray) -> float:
    y, x = corners.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def _blank_picture(canvas: Canvas) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    height, width = canvas.shape
    picture = Image.new("L", (_FINER * width, _FINER * height))
    return picture, ImageDraw.Draw(picture)


def _averaged(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.reduce(_FINER), np.float32) / np.float32(255)
