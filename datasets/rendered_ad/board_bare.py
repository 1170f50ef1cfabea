"""Layers of the board before parts are mounted: copper, pads, lettering, holes."""

import functools
import itertools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from datasets.rendered_ad.board_layout import (
    CHIPS,
    COMPONENTS,
    Component,
    footprint,
    on_board,
)
from datasets.rendered_ad.board_tracks import tracks
from datasets.rendered_ad.shapes import Plane, lettering

MOUNTING_HOLES = [(sx * 0.418, sy * 0.418) for sx in (-1, 1) for sy in (-1, 1)]
TRACK_WIDTH = 0.0065
CLEARANCE = 0.0075
"""Distance between the ground area and other copper, in image widths."""


class BareBoard(NamedTuple):
    """Layers of the board without parts, each a coverage in [0, 1]; read-only."""

    copper: Plane
    """Tracks under the solder mask, and the ground area around them."""
    pads: Plane
    silk: Plane
    holes: Plane


@functools.lru_cache(maxsize=2)
def bare_board(size_px: int) -> BareBoard:
    """The etched and printed board, centred and not rotated."""
    scale = 2 * size_px
    track, pad, hole = (_Sheet(scale) for _ in range(3))
    for line in tracks():
        track.line(line, TRACK_WIDTH)
    for component in COMPONENTS:
        for x, y, half_width, half_height in footprint(component.kind):
            at = on_board(component, x, y)
            upright = component.degrees % 180 == 90
            size = (half_height, half_width) if upright else (half_width, half_height)
            pad.rectangle(at, size)
    for x, y in (*MOUNTING_HOLES, *_test_points()):
        pad.disc((x, y), 0.034 if abs(y) > 0.4 else 0.012)
    for x, y in MOUNTING_HOLES:
        hole.disc((x, y), 0.021)
    for x, y in _vias():
        pad.disc((x, y), 0.0055)
        hole.disc((x, y), 0.0024)
    drawn = np.maximum(track.coverage(size_px), pad.coverage(size_px))
    apart_px = np.asarray(ndimage.distance_transform_edt(drawn <= 0.5))
    ground = np.clip(apart_px - CLEARANCE * size_px, 0, 1).astype(np.float32)
    layers = BareBoard(
        np.maximum(drawn, ground),
        pad.coverage(size_px),
        _silkscreen(scale).coverage(size_px) * (1 - pad.coverage(size_px)),
        hole.coverage(size_px),
    )
    for layer in layers:
        layer.flags.writeable = False
    return layers


class _Sheet:
    """A drawing whose methods take board coordinates."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.image = Image.new("L", (scale, scale))
        self.pen = ImageDraw.Draw(self.image)

    def _px(self, point: tuple[float, float]) -> tuple[float, float]:
        return (point[0] + 0.5) * self.scale, (point[1] + 0.5) * self.scale

    def line(self, points: list[tuple[float, float]], width: float) -> None:
        pixels = [self._px(point) for point in points]
        wide = max(1, round(width * self.scale))
        self.pen.line(pixels, fill=255, width=wide, joint="curve")

    def rectangle(self, at: tuple[float, float], half: tuple[float, float]) -> None:
        x, y = self._px(at)
        dx, dy = half[0] * self.scale, half[1] * self.scale
        corner = 0.25 * min(dx, dy)
        self.pen.rounded_rectangle((x - dx, y - dy, x + dx, y + dy), corner, fill=255)

    def disc(self, at: tuple[float, float], radius: float) -> None:
        self.pen.circle(self._px(at), radius * self.scale, fill=255)

    def ring(self, at: tuple[float, float], radius: float, width: float) -> None:
        wide = max(1, round(width * self.scale))
        self.pen.circle(self._px(at), radius * self.scale, outline=255, width=wide)

    def text(self, at: tuple[float, float], text: str, height: float) -> None:
        ink = lettering(text, max(8, round(1.4 * height * self.scale)))
        glyphs = Image.fromarray((255 * ink).astype(np.uint8))
        x, y = self._px(at)
        corner = (round(x - glyphs.width / 2), round(y - glyphs.height / 2))
        self.image.paste(255, corner, glyphs)

    def coverage(self, size_px: int) -> Plane:
        small = self.image.resize((size_px, size_px), Image.Resampling.BOX)
        return np.asarray(small, np.float32) / np.float32(255)


def _silkscreen(scale: int) -> _Sheet:
    silk = _Sheet(scale)
    for component in COMPONENTS:
        _outline(silk, component)
        dx, dy = _label_offset(component)
        silk.text((component.x + dx, component.y + dy), component.name, 0.0135)
    silk.text((-0.345, 0.30), "LFQ-16", 0.024)
    silk.text((-0.345, 0.335), "REV B", 0.015)
    silk.text((0.31, 0.445), "PWR   RX", 0.0135)
    silk.rectangle((0.425, 0.265), (0.016, 0.030))
    return silk


def _outline(silk: _Sheet, component: Component) -> None:
    """Draw white lines around a part, away from its pads."""
    wide = 0.0032
    kind = component.kind
    if kind == "can":
        silk.ring((component.x, component.y), 0.073, wide)
        return
    if kind in CHIPS:
        half_width, half_height, *_ = CHIPS[kind]
        if kind == "quad_chip":
            for sx in (-1, 1):
                for sy in (-1, 1):
                    x, y = component.x + sx * 0.094, component.y + sy * 0.094
                    silk.line([(x - sx * 0.012, y), (x, y), (x, y - sy * 0.012)], wide)
            silk.disc((component.x - 0.125, component.y - 0.105), 0.006)
            return
        for sy in (-1, 1):
            y = component.y + sy * (half_height + 0.010)
            silk.line(
                [(component.x - half_width, y), (component.x + half_width, y)], wide
            )
        return
    half = {
        "resistor": (0.040, 0.022),
        "chip_capacitor": (0.040, 0.022),
        "led": (0.040, 0.022),
        "diode": (0.072, 0.032),
        "tantalum": (0.073, 0.036),
        "coil": (0.072, 0.062),
        "crystal": (0.080, 0.034),
        "header": (0.182, 0.066),
        "socket": (0.0, 0.0),
    }[kind]
    if half[0] == 0:
        return
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    points = [on_board(component, sx * half[0], sy * half[1]) for sx, sy in corners]
    if kind in ("resistor", "chip_capacitor", "led"):
        silk.line(points[:2], wide)
        silk.line(points[2:4], wide)
    else:
        silk.line(points, wide)


def _label_offset(component: Component) -> tuple[float, float]:
    special = {
        "U1": (0.115, -0.125),
        "U2": (0.0, -0.075),
        "U3": (0.0, -0.115),
        "C1": (0.0, 0.090),
        "C2": (0.0, 0.090),
        "L1": (0.0, 0.080),
        "D1": (-0.055, 0.048),
        "T1": (0.0, -0.090),
        "Y1": (0.0, -0.048),
        "J1": (0.205, 0.0),
        "J2": (0.030, -0.098),
        "R9": (-0.038, 0.0),
        "R10": (0.042, 0.0),
        "D2": (-0.038, 0.0),
        "D3": (0.038, 0.0),
    }
    if component.name in special:
        return special[component.name]
    return (0.0, 0.055) if component.degrees == 90 else (0.0, -0.034)


def _test_points() -> list[tuple[float, float]]:
    return [
        (0.40, -0.05),
        (0.43, -0.01),
        (0.25, -0.335),
        (0.285, -0.335),
        (0.32, -0.335),
    ]


def _vias() -> list[tuple[float, float]]:
    """Positions of plated holes in the ground area, away from parts and tracks."""
    candidates = np.random.default_rng(16).uniform(-0.44, 0.44, (600, 2))
    points: list[tuple[float, float]] = []
    reach = {c.name: _reach(c.kind) for c in COMPONENTS}
    ends = np.array([p for line in tracks() for p in _sample_points(line)])
    for x, y in candidates:
        near_part = any(
            abs(x - c.x) < reach[c.name] and abs(y - c.y) < reach[c.name]
            for c in COMPONENTS
        )
        near_track = np.min(np.hypot(ends[:, 0] - x, ends[:, 1] - y)) < 0.02
        near_via = any(np.hypot(x - px, y - py) < 0.04 for px, py in points)
        on_print = (x > 0.39 and abs(y - 0.265) < 0.06) or (x < -0.22 and y > 0.27)
        near_hole = abs(x) > 0.37 and abs(y) > 0.37
        if not (near_part or near_track or near_via or near_hole or on_print):
            points.append((float(x), float(y)))
    return points[:46]


def _reach(kind: str) -> float:
    """Half side of a square that contains a part, its pads and its outline."""
    pads = footprint(kind)
    return 0.012 + max(max(abs(x) + w, abs(y) + h) for x, y, w, h in pads)


def _sample_points(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [
        ((1 - t) * x0 + t * x1, (1 - t) * y0 + t * y1)
        for (x0, y0), (x1, y1) in itertools.pairwise(line)
        for t in np.linspace(0, 1, 9)
    ]
