"""Defects of a populated board: parts, leads, solder, scratches."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from datasets.rendered_ad.board_canvas import BOARD_TOP, SOLDER, Canvas, patch_of
from datasets.rendered_ad.board_layout import (
    CHIPS,
    COMPONENTS,
    PIN_PITCH,
    Component,
    chip_pins,
    on_board,
)
from datasets.rendered_ad.board_parts import REACH
from datasets.rendered_ad.part_defects import scratch_path
from datasets.rendered_ad.shapes import coverage, smooth_union, stroke

REMOVABLE = (
    "resistor",
    "chip_capacitor",
    "led",
    "diode",
    "tantalum",
    "coil",
    "crystal",
    "narrow_chip",
    "wide_chip",
    "can",
)


class Assembly(NamedTuple):
    """The mounted parts: one entry per entry of `COMPONENTS`, None if missing."""

    parts: list[Component | None]
    bent: int = -1
    """Index of the chip whose leads are bent, or -1."""
    bends: Mapping[int, float] = MappingProxyType({})
    """Sideways offset of every bent lead, in image widths, by the lead's index."""


def assemble(flaw: np.random.Generator, defect: str) -> Assembly:
    """The designed parts, changed as the defect requires."""
    parts: list[Component | None] = list(COMPONENTS)
    if defect == "bent_pin":
        return Assembly(parts, *bend_leads(flaw))
    if defect in ("missing_part", "misplaced_part", "wrong_part"):
        chosen = choose_part(flaw, defect)
        designed = COMPONENTS[chosen]
        parts[chosen] = {
            "missing_part": lambda: None,
            "misplaced_part": lambda: misplace(flaw, designed),
            "wrong_part": lambda: exchange(flaw, designed),
        }[defect]()
    return Assembly(parts)


def choose_part(flaw: np.random.Generator, defect: str) -> int:
    """Index of a random component for a placement defect."""
    kinds = {
        "missing_part": REMOVABLE,
        "misplaced_part": REMOVABLE[:-1],
        "wrong_part": tuple(WRONG),
    }[defect]
    # There are many small parts: draw the kind first, so that large parts occur too.
    kind = flaw.choice([*kinds, "resistor", "chip_capacitor"])
    return int(
        flaw.choice([i for i, c in enumerate(COMPONENTS) if c.kind == str(kind)])
    )


def misplace(flaw: np.random.Generator, component: Component) -> Component:
    """A part that moved on liquid solder: rotated, shifted, or both."""
    small = component.kind in ("resistor", "chip_capacitor", "led")
    turn = flaw.choice([-1, 1]) * flaw.uniform(*((18, 60) if small else (7, 18)))
    away, distance = flaw.uniform(0, 2 * np.pi), flaw.uniform(0.012, 0.026)
    if flaw.random() < 0.3:
        turn *= 0.1
        distance *= 1.3
    return component._replace(
        x=component.x + float(distance * np.cos(away)),
        y=component.y + float(distance * np.sin(away)),
        degrees=component.degrees + float(turn),
    )


WRONG = {
    "resistor": ("chip_capacitor", "led"),
    "chip_capacitor": ("resistor", "led"),
    "led": ("resistor", "chip_capacitor"),
    "diode": ("tantalum",),
    "tantalum": ("diode",),
    "can": ("turned",),
    "quad_chip": ("turned",),
    "wide_chip": ("turned", "other"),
}
"""What is mounted by mistake, by the designed kind.

Either another kind, or the designed part turned by 180 degrees (`turned`), or the
designed part with another label (`other`).
"""


def exchange(flaw: np.random.Generator, component: Component) -> Component:
    """The part that is mounted by mistake; see `WRONG`."""
    other = str(flaw.choice(WRONG[component.kind]))
    if other == "turned":
        return component._replace(degrees=component.degrees + 180)
    if other == "other":
        return component._replace(label="TL074C")
    return component._replace(kind=other, label="000")


def bend_leads(flaw: np.random.Generator) -> tuple[int, dict[int, float]]:
    """Index of a chip, and the offsets of two to four neighbouring bent leads."""
    index = int(flaw.choice([i for i, c in enumerate(COMPONENTS) if c.kind in CHIPS]))
    kind = COMPONENTS[index].kind
    _, _, per_side, per_end = CHIPS[kind]
    sides = [per_side, per_end, per_side, per_end] if per_end else [per_side] * 2
    side = int(flaw.integers(0, len(sides)))
    count = int(flaw.integers(2, 5))
    first = sum(sides[:side]) + int(flaw.integers(0, sides[side] - count + 1))
    push = float(flaw.choice([-1, 1]) * flaw.uniform(0.6, 1.0)) * PIN_PITCH[kind]
    spread = flaw.uniform(0.5, 1.2, count)
    return index, {first + k: push * float(spread[k]) for k in range(count)}


def add_solder_bridge(flaw: np.random.Generator, canvas: Canvas) -> None:
    """Paint solder that joins two to four neighbouring leads of a chip."""
    index = int(flaw.choice([i for i, c in enumerate(COMPONENTS) if c.kind in CHIPS]))
    chip = COMPONENTS[index]
    pins = chip_pins(chip.kind)
    while True:
        first, count = int(flaw.integers(0, len(pins) - 3)), int(flaw.integers(2, 5))
        joined = pins[first : first + count]
        if len({(pin.out_x, pin.out_y) for pin in joined}) == 1:
            break
    rows, columns = canvas.window(chip.x, chip.y, REACH[chip.kind])
    x, y = canvas.x[rows, columns], canvas.y[rows, columns]
    blob = np.full(x.shape, 1.0, np.float32)
    size = PIN_PITCH[chip.kind] * float(flaw.uniform(0.58, 0.85))
    reach = float(flaw.uniform(-0.1, 0.5)) * size
    for k in range(2 * count - 1):
        at = (joined[k // 2], joined[(k + 1) // 2])
        foot = on_board(
            chip,
            (at[0].x + at[1].x) / 2 + at[0].out_x * reach,
            (at[0].y + at[1].y) / 2 + at[0].out_y * reach,
        )
        here = np.hypot(x - np.float32(foot[0]), y - np.float32(foot[1]))
        drop = here - np.float32(size * flaw.uniform(0.75, 1.15))
        blob = smooth_union(blob, drop, 0.5 * size)
    patch = patch_of(canvas, chip._replace(degrees=0), 1.0, REACH[chip.kind])
    dome = np.sqrt(np.clip(-blob / np.float32(size), 0, 1))
    patch.paint(blob, SOLDER, height=0.006 + 0.012 * dome, metal=1.0, roughness=0.2)


def add_scratch(flaw: np.random.Generator, canvas: Canvas) -> None:
    """Scratch the bare board down to the copper or the laminate."""
    heading = float(flaw.uniform(0, np.pi))
    x, y = flaw.uniform(-0.28, 0.28, 2)
    bare = np.zeros_like(canvas.x)
    half_width = float(flaw.uniform(0.0024, 0.0048))
    for _ in range(int(flaw.integers(1, 4))):
        path = scratch_path(
            flaw,
            centre=(float(x + flaw.normal(0, 0.02)), float(y + flaw.normal(0, 0.02))),
            length=float(flaw.uniform(0.30, 0.55)),
            half_width=half_width * float(flaw.uniform(0.7, 1.1)),
            heading=heading + float(flaw.normal(0, 0.08)),
        )
        line = stroke(canvas.x, canvas.y, *path)
        bare = np.maximum(bare, coverage(line, canvas.size_px))
    bare *= canvas.height > 0.9 * BOARD_TOP
    copper = np.array([0.70, 0.40, 0.24] if flaw.random() < 0.6 else [0.46, 0.45, 0.33])
    canvas.albedo += (copper.astype(np.float32) - canvas.albedo) * bare[..., None]
    canvas.metal += (np.float32(0.35) - canvas.metal) * bare
    canvas.roughness += (np.float32(0.5) - canvas.roughness) * bare
    canvas.height -= np.float32(0.0008) * bare
