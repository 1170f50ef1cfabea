"""The design of the circuit board: its parts and their pads.

All boards of the data set share this design. Board coordinates: x right, y down, the
centre at (0, 0), in image widths.
"""

from typing import NamedTuple

import numpy as np

HALF_SIDE = 0.462
CORNER = 0.018


class Component(NamedTuple):
    """One part: its name, kind, centre, rotation and label."""

    name: str
    kind: str
    x: float
    y: float
    degrees: float = 0.0
    label: str = ""


COMPONENTS = (
    Component("U1", "quad_chip", -0.055, -0.020, 0, "LFQ16"),
    Component("U2", "narrow_chip", 0.255, -0.215, 0, "OP27"),
    Component("U3", "wide_chip", 0.255, 0.125, 0, "HC595"),
    Component("C1", "can", -0.325, -0.295, 0, "47"),
    Component("C2", "can", -0.175, -0.310, 0, "47"),
    Component("L1", "coil", 0.005, -0.315, 0, "4R7"),
    Component("D1", "diode", 0.140, -0.375, 0),
    Component("T1", "tantalum", 0.385, -0.225, 90),
    Component("Y1", "crystal", -0.055, 0.205, 0, "16.000"),
    Component("J1", "header", -0.045, 0.380, 0),
    Component("J2", "socket", -0.405, -0.030, 0),
    Component("R1", "resistor", 0.130, -0.205, 0, "103"),
    Component("R2", "resistor", 0.130, -0.140, 0, "103"),
    Component("R3", "resistor", 0.130, 0.005, 0, "472"),
    Component("R4", "resistor", 0.130, 0.070, 0, "472"),
    Component("R5", "resistor", -0.370, 0.195, 90, "331"),
    Component("R6", "resistor", -0.315, 0.195, 90, "331"),
    Component("R7", "resistor", -0.260, 0.195, 90, "102"),
    Component("R8", "resistor", -0.205, 0.195, 90, "102"),
    Component("C3", "chip_capacitor", -0.055, -0.185, 0),
    Component("C4", "chip_capacitor", -0.235, -0.110, 90),
    Component("C5", "chip_capacitor", -0.235, 0.070, 90),
    Component("C6", "chip_capacitor", 0.045, 0.200, 90),
    Component("C7", "chip_capacitor", 0.255, -0.085, 0),
    Component("C8", "chip_capacitor", 0.385, 0.060, 90),
    Component("C9", "chip_capacitor", 0.385, 0.160, 90),
    Component("R9", "resistor", 0.275, 0.287, 90, "221"),
    Component("R10", "resistor", 0.345, 0.287, 90, "221"),
    Component("D2", "led", 0.275, 0.390, 90),
    Component("D3", "led", 0.345, 0.390, 90),
)

CHIPS = {
    # kind: half width and half height of the body, pins per vertical and per horizontal
    # side
    "quad_chip": (0.085, 0.085, 8, 8),
    "narrow_chip": (0.040, 0.052, 4, 0),
    "wide_chip": (0.042, 0.092, 7, 0),
}
PIN_PITCH = {"quad_chip": 0.0195, "narrow_chip": 0.0255, "wide_chip": 0.0255}
PIN_LENGTH = 0.032
HEADER_PINS = [
    (0.057 * (column - 2.5), 0.057 * (row - 0.5))
    for row in range(2)
    for column in range(6)
]
TWO_ENDED = {
    # kind: half distance of the pads, half length and half width of a pad
    "resistor": (0.0225, 0.0115, 0.0165),
    "chip_capacitor": (0.0225, 0.0115, 0.0165),
    "led": (0.0225, 0.0115, 0.0165),
    "diode": (0.050, 0.015, 0.020),
    "tantalum": (0.050, 0.016, 0.022),
    "coil": (0.050, 0.018, 0.040),
    "crystal": (0.058, 0.016, 0.014),
    "can": (0.050, 0.022, 0.012),
}


class Pin(NamedTuple):
    """A lead in the chip's coordinates: its centre and its outward direction."""

    x: float
    y: float
    out_x: float
    out_y: float


def chip_pins(kind: str) -> list[Pin]:
    """All leads of a chip. `x`, `y` is the centre of the part outside the body."""
    half_width, half_height, per_side, per_end = CHIPS[kind]
    pitch, out = PIN_PITCH[kind], PIN_LENGTH / 2
    pins = []
    for side in (-1, 1):
        for k in range(per_side):
            along = pitch * (k - (per_side - 1) / 2)
            pins.append(Pin(side * (half_width + out), along, side, 0))
        for k in range(per_end):
            along = pitch * (k - (per_end - 1) / 2)
            pins.append(Pin(along, side * (half_height + out), 0, side))
    return pins


def footprint(kind: str) -> list[tuple[float, float, float, float]]:
    """Pads in the part's coordinates: x, y, half width, half height."""
    if kind in CHIPS:
        wide = PIN_PITCH[kind] * 0.29
        return [
            (pin.x + 0.006 * pin.out_x, pin.y + 0.006 * pin.out_y)
            + ((0.018, wide) if pin.out_x else (wide, 0.018))
            for pin in chip_pins(kind)
        ]
    if kind == "header":
        return [(x, y, 0.017, 0.017) for x, y in HEADER_PINS]
    if kind == "socket":
        legs = [(0.072, 0.016 * k, 0.014, 0.0045) for k in range(-2, 3)]
        return [*legs, (0.03, -0.066, 0.018, 0.014), (0.03, 0.066, 0.018, 0.014)]
    apart, half_length, half_width = TWO_ENDED[kind]
    return [(side * apart, 0.0, half_length, half_width) for side in (-1, 1)]


def on_board(component: Component, x: float, y: float) -> tuple[float, float]:
    """Convert a point from a part's coordinates to board coordinates."""
    turn = np.radians(component.degrees)
    cosine, sine = np.cos(turn), np.sin(turn)
    return (
        float(component.x + cosine * x - sine * y),
        float(component.y + sine * x + cosine * y),
    )
