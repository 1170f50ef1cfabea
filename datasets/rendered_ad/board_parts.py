"""Electronic parts, each painted into a window of the scene in its own coordinates."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from datasets.rendered_ad.board_canvas import SOLDER, Canvas, Colour, Patch, patch_of
from datasets.rendered_ad.board_layout import (
    CHIPS,
    HEADER_PINS,
    PIN_LENGTH,
    PIN_PITCH,
    TWO_ENDED,
    Component,
    chip_pins,
    on_board,
)
from datasets.rendered_ad.shapes import (
    Plane,
    box,
    circle,
    smoothstep,
)

EPOXY: Colour = (0.020, 0.020, 0.022)


def paint_part(
    canvas: Canvas, part: Component, tone: float, bends: Mapping[int, float]
) -> None:
    """Paint one part without its solder joints, which `paint_solder` paints.

    `bends` is the sideways offset of bent leads, in image widths, by the lead's index.
    """
    patch = patch_of(canvas, part, tone, REACH[part.kind])
    if part.kind in CHIPS:
        paint_chip(patch, part, bends)
    else:
        PAINTERS[part.kind](patch, part)


def paint_solder(
    canvas: Canvas,
    part: Component,
    pads: list[tuple[float, float, float, float]],
    amount: float,
) -> None:
    """Paint a bright dome of solder on each pad."""
    for x, y, half_width, half_height in pads:
        pad = patch_of(
            canvas,
            part._replace(x=on_board(part, x, y)[0], y=on_board(part, x, y)[1]),
            1.0,
            1.5 * max(half_width, half_height),
        )
        corner = 0.8 * min(half_width, half_height)
        distance = box(pad.x, pad.y, 0.98 * half_width, 0.98 * half_height, corner)
        full = np.clip(-distance / np.float32(corner), 0, 1)
        dome = np.float32(0.0065 * amount) * np.sqrt(full)
        pad.paint(distance, SOLDER, height=dome, metal=1.0, roughness=0.22)


def bend_pin(pin_x: Plane, along: Plane, offset: float) -> Plane:
    """Cross-lead coordinate for a bent lead, whose offset grows towards its end."""
    reach = np.clip(along * np.float32(1 / PIN_LENGTH) + np.float32(0.5), 0, 1.2)
    return pin_x - np.float32(offset) * reach**1.5


def paint_chip(patch: Patch, part: Component, bends: Mapping[int, float]) -> None:
    """Paint a chip: moulded epoxy with gull-wing leads."""
    half_width, half_height, *_ = CHIPS[part.kind]
    top = 0.020 if part.kind == "quad_chip" else 0.024
    lead = 0.23 * PIN_PITCH[part.kind]
    for index, pin in enumerate(chip_pins(part.kind)):
        spot = patch.near(pin.x, pin.y, 1.6 * PIN_LENGTH)
        out = spot.x * np.float32(pin.out_x) + spot.y * np.float32(pin.out_y)
        side = spot.x * np.float32(pin.out_y) - spot.y * np.float32(pin.out_x)
        if index in bends:
            side = bend_pin(side, out, bends[index])
        knee = smoothstep(-0.25 * PIN_LENGTH, 0.15 * PIN_LENGTH, out)
        height = 0.012 - np.float32(0.009) * knee
        metal_strip = box(side, out, lead, 0.52 * PIN_LENGTH, 0.001)
        spot.paint(metal_strip, SOLDER, height=height, metal=1.0, roughness=0.28)
    patch.block((half_width, half_height), EPOXY, top=top, bevel=0.006, roughness=0.55)
    dot = (-half_width + 0.016, -half_height + 0.016)
    spot = patch.near(*dot, 0.014)
    dimple = circle(spot.x, spot.y, 0.0065)
    spot.paint(dimple, (0.035, 0.035, 0.036), height=top - 0.0015, roughness=0.7)
    laser = (0.34, 0.34, 0.33)
    if part.kind == "quad_chip":
        patch.mark(part.label, (0.0, -0.012), 0.026, laser)
        patch.mark("2417 B3", (0.0, 0.026), 0.015, laser)
    else:
        x, y = patch.x, patch.y
        # The lettering runs along the longer side.
        replace(patch, x=y, y=-x).mark(part.label, (0.0, 0.0), 0.022, laser)


def paint_two_ended(
    patch: Patch, part: Component, body: Colour, *, top: float, roughness: float
) -> None:
    """Paint a ceramic part with two tinned ends."""
    half_length, half_width = 0.0265, 0.0150
    patch.block(
        (half_length, half_width), SOLDER, top=top, bevel=0.003, metal=1, roughness=0.3
    )
    patch.block(
        (half_length - 0.0085, half_width - 0.0004),
        body,
        top=top + 0.0006,
        bevel=0.002,
        roughness=roughness,
    )


def paint_resistor(patch: Patch, part: Component) -> None:
    paint_two_ended(patch, part, (0.018, 0.018, 0.020), top=0.009, roughness=0.35)
    patch.mark(part.label, (0.0, 0.0), 0.0145, (0.72, 0.72, 0.70))


def paint_chip_capacitor(patch: Patch, part: Component) -> None:
    paint_two_ended(patch, part, (0.34, 0.225, 0.125), top=0.016, roughness=0.4)


def paint_led(patch: Patch, part: Component) -> None:
    paint_two_ended(patch, part, (0.62, 0.60, 0.50), top=0.011, roughness=0.25)
    dome = circle(patch.x, patch.y, 0.0105)
    glow = np.float32(0.013) + np.float32(0.35) * np.clip(-dome, 0, 0.012)
    patch.paint(dome, (0.66, 0.52, 0.16), height=glow, roughness=0.12)
    bar = box(patch.x + np.float32(0.0135), patch.y, 0.0018, 0.013)
    patch.paint(bar, (0.05, 0.22, 0.09), height=0.0115, roughness=0.5)


def paint_can(patch: Patch, part: Component) -> None:
    """Paint an electrolytic capacitor: black base, aluminium can, minus mark."""
    patch.block((0.060, 0.060), EPOXY, top=0.012, corner=0.010, roughness=0.5)
    lid = circle(patch.x, patch.y, 0.0575)
    crimp = np.clip(lid + np.float32(0.010), 0, 0.010)
    rim = np.exp(-(((lid + np.float32(0.012)) / np.float32(0.0025)) ** 2))
    height = np.float32(0.085) - 1.2 * crimp - np.float32(0.0010) * rim
    patch.paint(lid, (0.68, 0.69, 0.70), height=height, metal=1.0, roughness=0.33)
    minus = np.maximum(lid + np.float32(0.011), patch.x + np.float32(0.020))
    patch.paint(minus, (0.015, 0.016, 0.022), height=height, roughness=0.45)
    patch.mark(part.label, (0.016, -0.012), 0.021, (0.03, 0.03, 0.04))
    patch.mark("25V", (0.016, 0.018), 0.015, (0.03, 0.03, 0.04))


def paint_coil(patch: Patch, part: Component) -> None:
    paint_leads(patch, part.kind, 0.030)
    patch.block(
        (0.053, 0.053),
        (0.060, 0.060, 0.063),
        top=0.040,
        corner=0.012,
        bevel=0.008,
        roughness=0.7,
    )
    patch.mark(part.label, (0.0, 0.0), 0.026, (0.50, 0.50, 0.48))


def paint_diode(patch: Patch, part: Component) -> None:
    paint_leads(patch, part.kind, 0.013)
    patch.block((0.044, 0.026), (0.024, 0.024, 0.026), top=0.026, bevel=0.006)
    band = box(patch.x + np.float32(0.030), patch.y, 0.0045, 0.0225)
    patch.paint(band, (0.55, 0.55, 0.54), height=0.026, roughness=0.6)


def paint_tantalum(patch: Patch, part: Component) -> None:
    paint_leads(patch, part.kind, 0.015)
    patch.block((0.045, 0.028), (0.60, 0.33, 0.045), top=0.030, bevel=0.006)
    band = box(patch.x + np.float32(0.031), patch.y, 0.0065, 0.0235)
    patch.paint(band, (0.20, 0.07, 0.015), height=0.030, roughness=0.5)
    patch.mark("106", (0.010, 0.0), 0.021, (0.16, 0.06, 0.015))


def paint_crystal(patch: Patch, part: Component) -> None:
    """Paint a metal can with rounded ends on a wide flange."""
    flange = box(patch.x, patch.y, 0.072, 0.027, 0.026)
    patch.paint(flange, (0.66, 0.66, 0.66), height=0.006, metal=1.0, roughness=0.3)
    lid = box(patch.x, patch.y, 0.066, 0.0215, 0.021)
    drop = np.clip(lid + np.float32(0.006), 0, 0.006)
    height = np.float32(0.034) - drop * drop * np.float32(1 / 0.006)
    patch.paint(lid, (0.70, 0.70, 0.69), height=height, metal=1.0, roughness=0.24)
    patch.mark(part.label, (0.0, 0.0), 0.0145, (0.13, 0.13, 0.13))


def paint_header(patch: Patch, part: Component) -> None:
    """Paint two rows of gold-plated posts in black plastic."""
    patch.block((0.172, 0.057), EPOXY, top=0.022, corner=0.004, roughness=0.45)
    for x, y in HEADER_PINS:
        post = patch.near(x, y, 0.027)
        cup = box(post.x, post.y, 0.017, 0.017, 0.005)
        post.paint(cup, (0.010, 0.010, 0.011), height=0.019, roughness=0.6)
        post.block(
            (0.0088, 0.0088),
            (0.66, 0.46, 0.17),
            top=0.052,
            bevel=0.004,
            metal=1.0,
            roughness=0.25,
        )


def paint_socket(patch: Patch, part: Component) -> None:
    """Paint a small USB socket: folded sheet metal at the board's edge."""
    for k in range(-2, 3):
        spot = patch.near(0.066, 0.016 * k, 0.03)
        leg = box(spot.x, spot.y, 0.016, 0.0035)
        spot.paint(leg, SOLDER, height=0.004, metal=1.0, roughness=0.3)
    patch.near(-0.006, 0.0, 0.095).block(
        (0.060, 0.060),
        (0.67, 0.67, 0.66),
        top=0.036,
        bevel=0.007,
        corner=0.004,
        metal=1.0,
        roughness=0.27,
    )
    for side in (-1, 1):
        spot = patch.near(0.010, side * 0.028, 0.04)
        slot = box(spot.x, spot.y, 0.022, 0.0055, 0.002)
        spot.paint(slot, (0.04, 0.04, 0.042), height=0.031, roughness=0.6)
        spring = box(spot.x, spot.y, 0.018, 0.0033, 0.001)
        spot.paint(spring, (0.62, 0.62, 0.61), height=0.034, metal=1, roughness=0.3)
    seam = box(patch.x + np.float32(0.006), patch.y, 0.058, 0.0009)
    patch.paint(seam, (0.12, 0.12, 0.12), height=0.0352, metal=0.5, roughness=0.5)


def paint_leads(patch: Patch, kind: str, half_width: float) -> None:
    """Paint the flat tinned leads at both ends of a body."""
    apart, half_length, _ = TWO_ENDED[kind]
    for side in (-1, 1):
        patch.near(side * apart, 0.0, 0.05).block(
            (0.9 * half_length, half_width),
            SOLDER,
            top=0.007,
            bevel=0.003,
            metal=1.0,
            roughness=0.28,
        )


PAINTERS: dict[str, Callable[[Patch, Component], None]] = {
    "resistor": paint_resistor,
    "chip_capacitor": paint_chip_capacitor,
    "led": paint_led,
    "can": paint_can,
    "coil": paint_coil,
    "diode": paint_diode,
    "tantalum": paint_tantalum,
    "crystal": paint_crystal,
    "header": paint_header,
    "socket": paint_socket,
}
REACH = {
    "quad_chip": 0.14,
    "narrow_chip": 0.105,
    "wide_chip": 0.135,
    "resistor": 0.05,
    "chip_capacitor": 0.05,
    "led": 0.05,
    "can": 0.095,
    "coil": 0.09,
    "diode": 0.08,
    "tantalum": 0.08,
    "crystal": 0.09,
    "header": 0.20,
    "socket": 0.105,
}
"""Half side of a window that contains the part at any angle, in image widths."""
