"""What can happen to a flat sheet of any material, as geometry in image widths.

A defect is a distance field (a path or a blotch) and a profile: how height or colour
change with that distance. Profiles end exactly at 0, so a defect changes nothing
beyond its own border. What it does to a material is that material's own.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from datasets.rendered_ad.noise import smooth_noise
from datasets.rendered_ad.part_defects import Path
from datasets.rendered_ad.shading import Radiance
from datasets.rendered_ad.shapes import Plane, smooth_union, smoothstep


class Place(NamedTuple):
    """Where a defect lies and how it is turned (radians)."""

    centre: tuple[float, float]
    heading: float


class Change(NamedTuple):
    """What a defect does to a sheet before light falls on it."""

    height: Plane | float = 0.0
    """Added to the sheet's height."""
    dye: Radiance | float = 1.0
    """Factor on the albedo."""
    cover: Plane | float = 0.0
    """How much of a pixel something else covers, in [0, 1]."""
    cover_albedo: Radiance | Float32[np.ndarray, "3"] | float = 0.0
    """Linear RGB of what covers it."""

    def albedo(self, albedo: Radiance) -> Radiance:
        """The sheet's colour after dye and cover."""
        dyed = albedo * self.dye
        if not isinstance(self.cover, np.ndarray):
            return dyed
        return dyed + self.cover[..., None] * (self.cover_albedo - dyed)


def somewhere(rng: np.random.Generator, *, reach: float = 0.36) -> Place:
    """Any place of the sheet whose centre is at most `reach` from its middle."""
    x, y = rng.uniform(-reach, reach, 2)
    return Place((float(x), float(y)), float(rng.uniform(0, np.pi)))


def extent(rng: np.random.Generator, smallest: float, largest: float) -> float:
    """A length between two bounds, small ones as likely as large ones a factor up."""
    return float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))


def groove(distance: Plane, half_width: float) -> Plane:
    """Cross-section of a scratch: -1 at the bottom, a burr of 0.35 on either side.

    `distance` is measured from the groove's edge, negative inside.
    """
    t = distance * np.float32(1 / half_width)
    floor = -smoothstep(0.0, 1.0, -t)
    burr = smoothstep(-0.4, 0.3, t) * (1 - smoothstep(0.3, 1.2, t))
    return floor + np.float32(0.35) * burr


def bowl(distance: Plane, radius: float) -> Plane:
    """Cross-section of a dent: 1 in the middle, falling smoothly to 0 at the edge."""
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
    """Distance to a rounded, uneven outline, as a liquid's: discs that ran together.

    `radius` is about that of the disc of the same area.
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


def soaked(
    rng: np.random.Generator,
    x: Plane,
    y: Plane,
    *,
    centre: tuple[float, float],
    radius: float,
) -> Plane:
    """Pigment of a dried spill in [0, 1.3]: uneven inside, denser at the border."""
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


def hair(
    rng: np.random.Generator,
    *,
    start: tuple[float, float],
    heading: float,
    length: float,
    half_width: float,
) -> Path:
    """A loose fibre: a smooth curl of even width."""
    turns = heading + np.cumsum(rng.normal(0, 0.28, 12)) + rng.normal(0, 0.1)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 12
    points = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)]) + np.asarray(start)
    return Path(points, np.full(13, half_width))
