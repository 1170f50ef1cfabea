"""A populated circuit board: one design, with small differences between boards.

Boards differ in the placement of parts, the amount of solder in the joints and the
tone of the parts. Lengths are in image widths.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from datasets.rendered_ad.board_canvas import Canvas
from datasets.rendered_ad.board_defects import (
    Assembly,
    add_scratch,
    add_solder_bridge,
    assemble,
)
from datasets.rendered_ad.board_face import bare_canvas
from datasets.rendered_ad.board_layout import COMPONENTS, footprint
from datasets.rendered_ad.board_parts import paint_part, paint_solder
from datasets.rendered_ad.inspection import inspect
from datasets.rendered_ad.shading import Light, Radiance, Surface, radiance

DEFECTS = (
    "bent_pin",
    "misplaced_part",
    "missing_part",
    "scratch",
    "solder_bridge",
    "wrong_part",
)

LIGHT = Light(
    azimuth_degrees=-120,
    elevation_degrees=56,
    key=0.78,
    tent=0.46,
    shadow=0.65,
    lamp_half_size=(0.45, 0.25),
)


class Fitting(NamedTuple):
    """How the parts of one board differ from the design: one row per component."""

    offsets: Float[np.ndarray, "n 2"]
    degrees: Float[np.ndarray, " n"]
    tones: Float[np.ndarray, " n"]
    solder: Float[np.ndarray, " n"]


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one board, and the mask of its defect (empty for "good").

    Raises:
      ValueError: `defect` is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)


def draw(
    part: np.random.Generator, flaw: np.random.Generator, defect: str, size_px: int
) -> Radiance:
    """Scene radiance of one board.

    The generator `part` determines the board, the pose and the light. The generator
    `flaw` determines only the defect.
    """
    canvas = bare_canvas(part, size_px)
    fitting = random_fitting(part)
    light = LIGHT.varied(part)
    if defect == "scratch":
        add_scratch(flaw, canvas)
    mount(canvas, assemble(flaw, defect), fitting)
    if defect == "solder_bridge":
        add_solder_bridge(flaw, canvas)
    surface = Surface(canvas.height, canvas.albedo, canvas.metal, canvas.roughness)
    return radiance(surface, light)


def random_fitting(part: np.random.Generator) -> Fitting:
    """Random placement (within about a pixel), tone and solder of all parts."""
    n = len(COMPONENTS)
    return Fitting(
        offsets=part.normal(0, 0.0012, (n, 2)),
        degrees=part.normal(0, 0.7, n),
        tones=part.normal(1, 0.04, n).clip(0.88, 1.12),
        solder=part.normal(1, 0.15, n).clip(0.6, 1.4),
    )


def mount(canvas: Canvas, built: Assembly, fitting: Fitting) -> None:
    """Paint joints and parts. The pads of a missing part keep a thin layer of tin."""
    for index, designed in enumerate(COMPONENTS):
        part = built.parts[index]
        amount = 0.25 if part is None else float(fitting.solder[index])
        paint_solder(canvas, designed, footprint(designed.kind), amount)
        if part is None:
            continue
        placed = part._replace(
            x=part.x + float(fitting.offsets[index, 0]),
            y=part.y + float(fitting.offsets[index, 1]),
            degrees=part.degrees + float(fitting.degrees[index]),
        )
        bends = built.bends if index == built.bent else {}
        paint_part(canvas, placed, float(fitting.tones[index]), bends)
