"""From one part to its photograph and exact mask.

A category draws its part twice from the same random state, without and with the
defect. The mask marks where the two scenes differ, before camera noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from datasets.rendered_ad.photograph import photograph, srgb_curve
from datasets.rendered_ad.shading import Radiance, resize

SUPERSAMPLING = 1.5
VISIBLE_CHANGE = 0.03
"""Smallest change of an sRGB value (white = 1) that is a defect: 7.7 of 255."""

Draw = Callable[[np.random.Generator, np.random.Generator, str, int], Radiance]

CLOSED_GAP = 0.025
"""Changes closer together than this, in image widths, are joined to one region."""


class Scene(NamedTuple):
    """Noiseless radiance without and with the defect, and the mask of the defect."""

    good: Radiance
    shown: Radiance
    mask: Bool[np.ndarray, "h w"]


def downsample(
    scene: Radiance, image_px: int
) -> Float32[np.ndarray, "image_px image_px 3"]:
    """Downsample the scene to the image's resolution with a triangle filter."""
    channels = [resize(scene[..., c], (image_px, image_px)) for c in range(3)]
    return np.stack(channels, axis=-1)


def changed_region(good: Radiance, shown: Radiance) -> Bool[np.ndarray, "h w"]:
    """Mask of where two scenes differ visibly, with gaps closed and holes filled."""
    change = np.abs(srgb_curve(good) - srgb_curve(shown)).max(axis=-1)
    visible = change > VISIBLE_CHANGE
    reach = max(1, round(CLOSED_GAP * good.shape[1] / 2))
    padded = np.pad(visible, reach + 1)
    apart = ndimage.distance_transform_edt(~padded)
    grown = np.asarray(apart) <= reach
    within = ndimage.distance_transform_edt(grown)
    closed = np.asarray(within) > reach
    filled = ndimage.binary_fill_holes(closed | padded)
    return np.asarray(filled)[reach + 1 : -reach - 1, reach + 1 : -reach - 1]


def stage(
    rng: np.random.Generator,
    draw: Draw,
    *,
    defect: str,
    defects: tuple[str, ...],
    image_px: int,
) -> tuple[Scene, np.random.Generator]:
    """Draw the part without and with its defect. Also returns the camera's generator.

    `draw(part_rng, defect_rng, defect, size_px)` returns the radiance with `size_px`
    pixels per side. It must draw everything but the defect from `part_rng`.

    Raises:
      ValueError: `defect` is unknown, or `image_px` is too small.
    """
    if defect not in ("good", *defects):
        raise ValueError(
            f"defect must be one of 'good', {', '.join(map(repr, defects))}, got "
            f"{defect!r}"
        )
    if image_px < 64:
        raise ValueError(f"image_px must be at least 64, got {image_px}")
    part_seed, defect_seed, camera_seed = rng.integers(0, 2**63, 3)

    def draw_scene(kind: str) -> Radiance:
        part, flaw = (
            np.random.default_rng(part_seed),
            np.random.default_rng(defect_seed),
        )
        size_px = round(SUPERSAMPLING * image_px)
        return downsample(draw(part, flaw, kind, size_px), image_px)

    camera = np.random.default_rng(camera_seed)
    good = draw_scene("good")
    if defect == "good":
        return Scene(good, good, np.zeros((image_px, image_px), bool)), camera
    shown = draw_scene(defect)
    return Scene(good, shown, changed_region(good, shown)), camera


def inspect(
    rng: np.random.Generator,
    draw: Draw,
    *,
    defect: str,
    defects: tuple[str, ...],
    image_px: int,
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Photograph of one part, and the mask of its defect."""
    scene, camera = stage(rng, draw, defect=defect, defects=defects, image_px=image_px)
    return photograph(scene.shown, camera), scene.mask
