"""Shapes and profiles of defects of flat sheets, in image widths.

A defect combines a distance field with a profile: the change of height or colour as a
function of the distance. Profiles are exactly 0 beyond the defect's border. The file of
each material defines how a defect changes that material.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from datasets.rendered_ad.noise import smooth_noise
from datasets.rendered_ad.part_defects import Path
from datasets.rendered_ad.shading import Radiance
from datasets.rendered_ad.shapes import Plane, smooth_union, smoothstep


class Place(NamedTuple):
    """Centre and direction (in radians) of a defect."""

    centre: tuple[float, float]
    heading: float


class Change(NamedTuple):
    """Changes that a defect makes to a sheet before lighting."""

    height: Plane | float = 0.0
    """Added to the sheet's height."""
    dye: Radiance | float = 1.0
    """Factor on the albedo."""
    cover: Plane | float = 0.0
    """Share of every pixel that another material covers, in [0, 1]."""
    cover_albedo: Radiance | Float32[np.ndarray, "3"] | float = 0.0
    """Linear RGB of that material."""

    def albedo(self, albedo: Radiance) -> Radiance:
        """The sheet's albedo after dye and cover."""
        dyed = albedo * self.dye
        if not isinstance(self.cover, np.ndarray):
            return dyed
        return dyed + self.cover[..., None] * (self.cover_albedo - dyed)


def random_place(rng: np.random.Generator, *, reach: float = 0.36) -> Place:
    """Random place: x and y are at most `reach` from the middle of the sheet."""
    x, y = rng.uniform(-reach, reach, 2)
    return Place((float(x), float(y)), float(rng.uniform(0, np.pi)))


def random_length(rng: np.random.Generator, smallest: float, largest: float) -> float:
    """Random length between two bounds, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))


def groove(distance: Plane, half_width: float) -> Plane:
    """Profile of a scratch: -1 at the bottom, a burr of up to 0.35 on both sides.

    `distance` is the signed distance from the groove's edge, negative inside.
    """
    t = distance * np.float32(1 / half_width)
    floor = -smoothstep(0.0, 1.0, -t)
    burr = smoothstep(-0.4, 0.3, t) * (1 - smoothstep(0.3, 1.2, t))
    return floor + np.float32(0.35) * burr


def bowl(distance: Plane, radius: float) -> Plane:
    """Profile of a dent: 1 in the middle, smoothly decreasing to 0 at the edge."""
    depth = np.clip(distance * np.float32(-1 / radius), 0, 1)
    return 1 - (1 - depth * depth) ** 2


def puddle(
    rng: np.random.Generator,
    x: Plane,
    y: Plane,
    *,
    centre: tuple[float, float],
    radius: float,
) -> Plane:
    """Signed distance to the outline of a puddle: a smooth union of four random discs.

    `radius` is approximately the radius of the disc of the same area.
    """
    heading, length = rng.uniform(0, np.pi), radius * rng.uniform(0.1, 1.0)
    distance = None
    for along in np.linspace(-1, 1, 4) + rng.normal(0, 0.15, 4):
        drift = rng.normal(0, 0.18 * radius, 2)
        dx = x - np.float32(centre[0] + along * length * np.cos(heading) + drift[0])
        dy = y - np.float32(centre[1] + along * length * np.sin(heading) + drift[1])
        size = np.float32(radius * rng.uniform(0.45, 0.85) * (1 - 0.3 * abs(along)))
        disc = np.sqrt(dx * dx + dy * dy) - size
        if distance is None:
            distance = disc
        else:
            distance = smooth_union(distance, disc, 0.7 * radius)
    assert distance is not None
    swell = smooth_noise(rng, x.shape, 0.4 * radius * x.shape[1])
    return distance + np.float32(0.11 * radius) * swell


def stain_pigment(
    rng: np.random.Generator,
    x: Plane,
    y: Plane,
    *,
    centre: tuple[float, float],
    radius: float,
) -> Plane:
    """Amount of pigment of a dried spill, in [0, 1.3], with more at the border."""
    distance = puddle(rng, x, y, centre=centre, radius=radius)
    softness = radius * float(rng.uniform(0.08, 0.3))
    body = 1 - smoothstep(-softness, 0.0, distance)
    rim = smoothstep(-4 * softness, -softness, distance) * body
    pale = np.float32(rng.uniform(0.1, 0.5))
    pigment = body * (1 - pale) + (pale + np.float32(0.3)) * rim * body
    for _ in range(int(rng.integers(0, 4))):
        turn, off = rng.uniform(0, 2 * np.pi), radius * rng.uniform(1.4, 2.3)
        dx = x - np.float32(centre[0] + off * np.cos(turn))
        dy = y - np.float32(centre[1] + off * np.sin(turn))
        size = radius * float(rng.uniform(0.07, 0.2))
        drop = 1 - smoothstep(0.5 * size, size, np.sqrt(dx * dx + dy * dy))
        pigment = np.maximum(pigment, drop)
    return pigment


def loose_fibre(
    rng: np.random.Generator,
    *,
    start: tuple[float, float],
    heading: float,
    length: float,
    half_width: float,
) -> Path:
    """A loose fibre: a smoothly curved line of constant width."""
    turns = heading + np.cumsum(rng.normal(0, 0.28, 12)) + rng.normal(0, 0.1)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 12
    points = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)]) + np.asarray(start)
    return Path(points, np.full(13, half_width))
