"""What is written about a scored photograph: the box of a defect, and the overlay."""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np

from experiments.predict.outputs import Box, ImageFiles, draw_overlay, largest_box


def test_the_box_surrounds_the_largest_region():
    mask = np.zeros((20, 30), bool)
    assert largest_box(mask) is None
    mask[1, 1] = mask[2, 2] = True  # one region, by the corner
    assert largest_box(mask) == Box(1, 1, 2, 2)
    mask[10:14, 20:29] = True
    assert largest_box(mask) == Box(20, 10, 9, 4)


def test_the_middle_colour_stands_for_the_pixel_threshold():
    image = np.full((4, 4, 3), 128, np.uint8)
    nothing = np.zeros((4, 4), bool)
    overlays = [
        draw_overlay(image, np.full((4, 4), v, np.float32), nothing, pixel_threshold=t)
        for v, t in ((0.1, 0.2), (0.3, 0.6), (0.2, 0.2))
    ]
    assert np.array_equal(overlays[0], overlays[1])
    assert not np.array_equal(overlays[0], overlays[2])
    marked = nothing.copy()
    marked[1, 1] = True
    zero = np.zeros((4, 4), np.float32)
    outlined = draw_overlay(image, zero, marked, pixel_threshold=0.5)
    assert (outlined[0, 1] == 255).all()
    assert (outlined[1, 1] == 128).all()


def test_no_name_ends_a_batch_or_loses_an_output(tmp_path):
    """Longest name, not UTF-8, two lines, a folder called like an overlay."""
    names = ["n" * 251 + ".png", os.fsdecode(b"gr\xfcn.png"), "a\nb.png", "-d.png"]
    names += ["a.jpg", "a.png", "a.png.tif", "A.png", "a.jpg/a.png", "a.bmp"]
    files = ImageFiles(tmp_path, overlays="jpg", maps="tiff")
    image, mask = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool)
    scored: Any = SimpleNamespace(heat_map=np.zeros((4, 4), np.float32), mask=mask)
    for _ in range(2):  # a photograph that is written again keeps its outputs
        for name in names:
            files.write(name, image, scored, pixel_threshold=0.5)
    for folder in ("overlays", "maps"):
        written = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
        assert len(written) == len(names)
