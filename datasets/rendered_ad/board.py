"""A populated circuit board: one design, every specimen a little different.

Parts sit within a placement tolerance, joints hold more or less solder, batches
differ in tone. Lengths are in image widths.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from datasets.rendered_ad.board_canvas import Canvas
from datasets.rendered_ad.board_defects import Assembly, assembly, bridge, scratch
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
    """How one specimen is populated: a row a component."""

    offsets: Float[np.ndarray, "n 2"]
    degrees: Float[np.ndarray, " n"]
    tones: Float[np.ndarray, " n"]
    solder: Float[np.ndarray, " n"]


def render(
    rng: np.random.Generator, *, defect: str, image_px: int = 320
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """A photograph of one board and the mask of its defect, empty for "good".

    Raises ValueError for a defect that is neither "good" nor in `DEFECTS`.
    """
    return inspect(rng, draw, defect=defect, defects=DEFECTS, image_px=image_px)


def draw(
    part: np.random.Generator, flaw: np.random.Generator, defect: str, size_px: int
) -> Radiance:
    """Scene radiance; the good board is wholly `part`'s, the defect `flaw`'s."""
    canvas = bare_canvas(part, size_px)
    fitting = fitted(part)
    light = LIGHT.varied(part)
    if defect == "scratch":
        scratch(flaw, canvas)
    mount(canvas, assembly(flaw, defect), fitting)
    if defect == "solder_bridge":
        bridge(flaw, canvas)
    surface = Surface(canvas.height, canvas.albedo, canvas.metal, canvas.roughness)
    return radiance(surface, light)


def fitted(part: np.random.Generator) -> Fitting:
    """Placement within about a pixel, tones and solder of one specimen."""
    n = len(COMPONENTS)
    return Fitting(
        offsets=part.normal(0, 0.0012, (n, 2)),
        degrees=part.normal(0, 0.7, n),
        tones=part.normal(1, 0.04, n).clip(0.88, 1.12),
        solder=part.normal(1, 0.15, n).clip(0.6, 1.4),
    )


def mount(canvas: Canvas, built: Assembly, fitting: Fitting) -> None:
    """Paint joints and parts; the pads of a missing part keep a thin tinning."""
    for index, pads_of in enumerate(COMPONENTS):
        part = built.parts[index]
        amount = 0.25 if part is None else float(fitting.solder[index])
        paint_solder(canvas, pads_of, footprint(pads_of.kind), amount)
        if part is None:
            continue
        placed = part._replace(
            x=part.x + float(fitting.offsets[index, 0]),
            y=part.y + float(fitting.offsets[index, 1]),
            degrees=part.degrees + float(fitting.degrees[index]),
        )
        bends = built.bends if index == built.bent else {}
        paint_part(canvas, placed, float(fitting.tones[index]), bends)
