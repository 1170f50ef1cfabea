"""One part before the camera: the scene, its exact mask, and the photograph.

A category draws its part twice from the same random state, without and with the
defect. The mask is where the two scenes differ, before camera noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from datasets.rendered_ad.photograph import photograph, srgb_curve
from datasets.rendered_ad.shading import Radiance, resized

SUPERSAMPLING = 1.5
VISIBLE_CHANGE = 0.03
"""Least change of an sRGB value (white = 1) that counts as defect: 7.7 of 255."""

Draw = Callable[[np.random.Generator, np.random.Generator, str, int], Radiance]

CLOSED_GAP = 0.025
"""Changes closer together than this, in image widths, belong to one region."""


class Scene(NamedTuple):
    """Noiseless radiance without and with the defect, and where they differ."""

    good: Radiance
    shown: Radiance
    mask: Bool[np.ndarray, "h w"]


def reduced(
    scene: Radiance, image_px: int
) -> Float32[np.ndarray, "image_px image_px 3"]:
    """The scene at the image's resolution, averaged under a triangle."""
    channels = [resized(scene[..., c], (image_px, image_px)) for c in range(3)]
    return np.stack(channels, axis=-1)


def changed_region(good: Radiance, shown: Radiance) -> Bool[np.ndarray, "h w"]:
    """Where two scenes visibly differ, gaps closed and holes filled."""
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
    """Draw the part; the generator that comes back is the camera's.

    `draw(part_rng, defect_rng, defect, size_px)` gives the radiance at `size_px`
    samples a side and must take everything that is not the defect from `part_rng`.
    """
    if defect not in ("good", *defects):
        raise ValueError(
            f"defect is {defect!r}; known are 'good', {', '.join(map(repr, defects))}"
        )
    if image_px < 64:
        raise ValueError(f"image_px is {image_px}; a part needs at least 64 pixels")
    part_seed, defect_seed, camera_seed = rng.integers(0, 2**63, 3)

    def drawn(kind: str) -> Radiance:
        part, flaw = (
            np.random.default_rng(part_seed),
            np.random.default_rng(defect_seed),
        )
        size_px = round(SUPERSAMPLING * image_px)
        return reduced(draw(part, flaw, kind, size_px), image_px)

    camera = np.random.default_rng(camera_seed)
    good = drawn("good")
    if defect == "good":
        return Scene(good, good, np.zeros((image_px, image_px), bool)), camera
    shown = drawn(defect)
    return Scene(good, shown, changed_region(good, shown)), camera


def inspect(
    rng: np.random.Generator,
    draw: Draw,
    *,
    defect: str,
    defects: tuple[str, ...],
    image_px: int,
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """The photograph of one part and the mask of its defect."""
    scene, camera = stage(rng, draw, defect=defect, defects=defects, image_px=image_px)
    return photograph(scene.shown, camera), scene.mask
