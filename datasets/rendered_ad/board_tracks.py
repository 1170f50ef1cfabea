"""The copper tracks that connect the pads of the circuit board.

Coordinates are board coordinates, in image widths.
"""

from typing import Literal

import numpy as np

from datasets.rendered_ad.board_layout import (
    COMPONENTS,
    HEADER_PINS,
    chip_pins,
    on_board,
)

Point = tuple[float, float]
Bundle = tuple[list[Point], list[Point], Literal["across", "down"]]


def tracks() -> list[list[Point]]:
    """Centre lines of all copper tracks."""
    return [
        route(start, end, way)
        for starts, ends, way in bundles()
        for start, end in zip(starts, ends, strict=True)
    ]


def route(start: Point, end: Point, way: Literal["across", "down"]) -> list[Point]:
    """A track of a straight piece, a diagonal and another straight piece."""
    (x0, y0), (x1, y1) = start, end
    run, rise = abs(x1 - x0), abs(y1 - y0)
    if way == "down":
        run, rise = rise, run
    straight = float(max(run - rise, 0) / 2)
    if way == "across":
        step = straight * float(np.sign(x1 - x0))
        return [start, (x0 + step, y0), (x1 - step, y1), end]
    step = straight * float(np.sign(y1 - y0))
    return [start, (x0, y0 + step), (x1, y1 - step), end]


def bundles() -> list[Bundle]:
    """Groups of parallel tracks: start points, end points, and the first direction."""
    chip = {c.name: c for c in COMPONENTS}
    quad = [on_board(chip["U1"], p.x, p.y) for p in chip_pins("quad_chip")]
    left, top, right, bottom = quad[:8], quad[8:16], quad[16:24], quad[24:]
    wide = [on_board(chip["U3"], p.x, p.y) for p in chip_pins("wide_chip")]
    narrow = [on_board(chip["U2"], p.x, p.y) for p in chip_pins("narrow_chip")]
    header = [on_board(chip["J1"], x, y) for x, y in HEADER_PINS]
    legs = [on_board(chip["J2"], 0.072, 0.016 * k) for k in range(-2, 3)]
    bus = [(0.18, 0.05 + 0.0255 * k) for k in range(4)]
    above, below = [(-0.085, 0.30), (-0.015, 0.28)], [(0.275, 0.367), (0.345, 0.367)]
    feet = [(-0.37, 0.218), (-0.315, 0.218), (-0.26, 0.218), (-0.205, 0.218)]
    rail = [(-0.23, 0.33), (-0.215, 0.335), (-0.19, 0.345), (-0.13, 0.35)]
    north = [(-0.19, -0.26), (-0.078, -0.185), (-0.033, -0.185), (0.045, -0.30)]
    south = [above[1], (0.003, 0.20), (0.045, 0.178)]
    east = [(0.385, 0.037), (0.385, 0.083), (0.385, 0.137), (0.43, 0.16), (0.43, 0.20)]
    corner = [(0.385, -0.275), (0.385, -0.175), (0.43, -0.14)]
    return [
        (left[1:6], legs, "across"),
        (left[6:8], [(-0.235, 0.048), (-0.26, 0.172)], "across"),
        (right[:2], [(0.108, -0.205), (0.108, -0.14)], "across"),
        (right[4:8], bus, "across"),
        (bus, wide[:4], "across"),
        ([(0.152, -0.205), (0.152, -0.14)], narrow[1:3], "across"),
        (top[2:6], north, "down"),
        (bottom[1:3], [(-0.113, 0.205), above[0]], "down"),
        (bottom[4:7], south, "down"),
        (above, header[2:4], "down"),
        (feet, rail, "down"),
        (wide[7:12], east, "across"),
        (wide[12:14], [(0.345, 0.265), (0.275, 0.265)], "down"),
        ([(0.275, 0.31), (0.345, 0.31)], below, "down"),
        (narrow[4:7], corner, "across"),
        ([(-0.275, -0.295)], [(-0.225, -0.31)], "across"),
        ([(-0.125, -0.31)], [(-0.045, -0.315)], "across"),
        ([(0.055, -0.33)], [(0.09, -0.375)], "across"),
        ([(0.19, -0.375)], [corner[0]], "across"),
    ]
