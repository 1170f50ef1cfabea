"""One board before parts are mounted, rotated and shifted."""

import functools

import numpy as np
from PIL import Image

from datasets.rendered_ad.board_bare import BareBoard, bare_board
from datasets.rendered_ad.board_canvas import BOARD_TOP, SOLDER, Canvas
from datasets.rendered_ad.board_layout import CORNER, HALF_SIDE
from datasets.rendered_ad.shading import Radiance
from datasets.rendered_ad.shapes import (
    Plane,
    box,
    coverage,
    part_coordinates,
    pixel_grid,
)
from datasets.rendered_ad.table import grain, soft_noise, table_albedo

INK = (0.68, 0.68, 0.66)


@functools.lru_cache(maxsize=2)
def stacked_layers(size_px: int) -> Image.Image:
    """The four layers as the bands of one image, so that one transform rotates all."""
    bands = [
        Image.fromarray(np.round(255 * layer).astype(np.uint8))
        for layer in bare_board(size_px)
    ]
    return Image.merge("CMYK", bands)


def warped_layers(
    size_px: int, shift: tuple[float, float], degrees: float
) -> list[Plane]:
    """The layers of the bare board, rotated and shifted into image coordinates."""
    turn = np.radians(degrees)
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    middle = size_px / 2
    x, y = middle + shift[0] * size_px, middle + shift[1] * size_px
    matrix = (
        cosine,
        sine,
        middle - cosine * x - sine * y,
        -sine,
        cosine,
        middle + sine * x - cosine * y,
    )
    turned = stacked_layers(size_px).transform(
        (size_px, size_px), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    planes = np.asarray(turned, np.float32) * np.float32(1 / 255)
    return [np.ascontiguousarray(planes[..., k]) for k in range(planes.shape[-1])]


def bare_canvas(part: np.random.Generator, size_px: int) -> Canvas:
    """The etched and printed board without parts, on a dark table."""
    shift = (float(part.normal(0, 0.004)), float(part.normal(0, 0.004)))
    degrees = float(part.normal(0, 0.8))
    x, y = part_coordinates(*pixel_grid(size_px), shift=shift, degrees=degrees)
    layers = BareBoard(*warped_layers(size_px, shift, degrees))
    edge = box(x, y, HALF_SIDE, HALF_SIDE, CORNER)
    board = coverage(edge, size_px) * (1 - layers.holes)
    weave = np.sin(x * np.float32(520)) + np.sin(y * np.float32(560))
    height = np.float32(BOARD_TOP) + np.float32(0.0007) * layers.copper
    height += np.float32(0.0004) * layers.silk + np.float32(1.2e-5) * weave
    height += np.float32(3e-5) * soft_noise(part, size_px, 50)
    height -= np.clip(edge + np.float32(0.003), 0, 0.003)
    roughness = 0.36 + 0.25 * layers.silk - 0.12 * layers.pads
    return Canvas(
        x=x,
        y=y,
        height=height * board,
        albedo=face_albedo(part, layers, board),
        metal=layers.pads * board,
        roughness=0.95 + (roughness - 0.95) * board,
        shift=shift,
        degrees=degrees,
    )


def face_albedo(part: np.random.Generator, layers: BareBoard, board: Plane) -> Radiance:
    """Linear RGB of solder mask, lettering and tinned pads, on a dark table."""
    size_px = board.shape[0]
    green = np.array([0.009, 0.098, 0.040], np.float32) * part.uniform(0.92, 1.08)
    mask = 1 + np.float32(0.035) * soft_noise(part, size_px, 7)
    mask += np.float32(0.03) * grain(part, size_px, 1.0)
    # The solder mask looks darker over laminate than over copper.
    mask *= np.float32(0.46) + np.float32(0.54) * layers.copper
    ink = layers.silk * np.float32(part.uniform(0.82, 0.95)) * (1 - layers.pads)
    mask *= (1 - ink) * (1 - layers.pads)
    albedo = table_albedo(part, size_px, (0.030, 0.031, 0.034), contrast=0.08)
    for channel in range(3):
        face = mask * green[channel] + layers.pads * np.float32(SOLDER[channel])
        face += ink * np.float32(INK[channel])
        albedo[..., channel] += (face - albedo[..., channel]) * board
    return albedo
