"""Light on a part: a height field with materials becomes scene radiance.

The part lies under a softbox in a light tent, seen from straight above. Diffuse
light is Lambert's; mirrored light is looked up in an environment of one soft-edged
rectangular lamp and a tent that is bright above and dim at the horizon, whose
edges widen with roughness; its share is Schlick's Fresnel term.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

from datasets.rendered_ad.shapes import Plane, pixel_grid, smoothstep

LAMP_TO_PAPER = 7.0
"""How much brighter the lamp is, in a glossy coat, than metal shows it to be: metal
parts are photographed through a diffuser, or they would be white."""

Radiance = Float32[np.ndarray, "h w 3"]


class Surface(NamedTuple):
    """What the camera sees, a sample a pixel.

    `height` is in image widths above the table; `albedo` is linear RGB, and the
    colour of mirrored light where `metal` is 1; `metal`, `roughness` in [0, 1];
    `sheen` is mirrored key light that the normals do not show (brushed metal).
    """

    height: Plane
    albedo: Radiance
    metal: Plane
    roughness: Plane
    sheen: Plane | None = None


@dataclass(frozen=True)
class Light:
    """One lamp and the tent; directions point from the part towards the light."""

    azimuth_degrees: float
    """Where the lamp stands, from x (right) towards y (down)."""
    elevation_degrees: float
    key: float = 1.0
    """Radiance that the lamp alone gives a white matte table."""
    tent: float = 0.45
    """The same for the tent."""
    lamp_half_size: tuple[float, float] = (0.38, 0.22)
    """Half extents as sines of angles: along the horizon, and upwards."""
    shadow: float = 0.6
    """Share of the lamp's light that its shadows lack; the tent scatters the rest."""
    warmth: float = 0.0
    """Red gain minus blue gain."""

    @property
    def direction(self) -> tuple[float, float, float]:
        azimuth, elevation = np.radians([self.azimuth_degrees, self.elevation_degrees])
        return (
            float(np.cos(elevation) * np.cos(azimuth)),
            float(np.cos(elevation) * np.sin(azimuth)),
            float(np.sin(elevation)),
        )

    def varied(self, rng: np.random.Generator) -> "Light":
        """The lamp as it burns for one photograph: a few degrees, a few per cent."""
        return replace(
            self,
            azimuth_degrees=self.azimuth_degrees + float(rng.normal(0, 3)),
            elevation_degrees=self.elevation_degrees + float(rng.normal(0, 1.5)),
            key=self.key * float(rng.uniform(0.95, 1.05)),
            tent=self.tent * float(rng.uniform(0.95, 1.05)),
            warmth=self.warmth + float(rng.normal(0, 0.012)),
        )


def resized(plane: Plane, shape: tuple[int, int]) -> Float32[np.ndarray, "new_h new_w"]:
    """Bilinear (enlarging) or area-like (reducing) change of resolution."""
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    size = (shape[1], shape[0])
    return np.array(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def blurred(plane: Plane, sigma_px: float) -> Plane:
    """Gaussian blur; wide ones are taken at a lower resolution."""
    reduction = int(max(1, min(8, sigma_px // 2)))
    if reduction == 1:
        return ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3)
    small = resized(plane, (plane.shape[0] // reduction, plane.shape[1] // reduction))
    small = ndimage.gaussian_filter(
        small, sigma_px / reduction, mode="nearest", truncate=3
    )
    return resized(small, (plane.shape[0], plane.shape[1]))


def normals(height: Plane) -> tuple[Plane, Plane, Plane]:
    """Unit normals of a height field given in image widths."""
    slope_y, slope_x = np.gradient(height * np.float32(height.shape[1]))
    z = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    return -slope_x * z, -slope_y * z, z


def crevice_darkening(height: Plane) -> Plane:
    """Share of the tent's light that reaches a place: less beside higher ground."""
    width = height.shape[1]
    light = np.ones_like(height)
    for sigma, strength in ((0.006, 28.0), (0.025, 9.0)):
        above = np.maximum(blurred(height, sigma * width) - height, 0)
        light /= 1 + np.float32(strength) * above
    return light


def cast_shadow(height: Plane, light: Light, *, softness: float = 0.012) -> Plane:
    """Share of the lamp that a place sees, by marching over the height field."""
    reduction = 4
    width = height.shape[1] // reduction
    low = resized(height, (height.shape[0] // reduction, width))
    lx, ly, lz = light.direction
    rise = lz / max(np.hypot(lx, ly), 1e-3)
    scale = np.hypot(lx, ly) / max(abs(lx), abs(ly))
    reach_px = int(np.ceil(float(low.max()) / rise * width)) + 1
    hidden = np.zeros_like(low)
    for step in range(1, reach_px + 1):
        dx = round(step * lx / max(abs(lx), abs(ly)))
        dy = round(step * ly / max(abs(lx), abs(ly)))
        blocker = np.roll(low, (-dy, -dx), (0, 1)) - step * scale / width * rise
        np.maximum(hidden, (blocker - low) * np.float32(1 / softness), out=hidden)
    visible = 1 - np.clip(hidden, 0, 1)
    visible = ndimage.gaussian_filter(visible, 0.009 * width, mode="nearest")
    return resized(visible, (height.shape[0], height.shape[1]))


def environment(
    x: Plane, y: Plane, z: Plane, roughness: Plane, light: Light
) -> tuple[Plane, Plane]:
    """Radiance of lamp and tent in mirrored directions (x, y, z)."""
    lx, ly, lz = light.direction
    flat = max(np.hypot(lx, ly), 1e-6)
    side = x * np.float32(-ly / flat) + y * np.float32(lx / flat)
    forward = x * np.float32(lx / flat) + y * np.float32(ly / flat)
    up = z * np.float32(flat) - forward * np.float32(lz)
    facing = forward * np.float32(flat) + z * np.float32(lz)
    edge = np.float32(0.04) + roughness * roughness * np.float32(1.6)
    half_side, half_up = light.lamp_half_size
    inside_side = np.clip((np.float32(half_side) - np.abs(side)) / edge + 0.5, 0, 1)
    inside_up = np.clip((np.float32(half_up) - np.abs(up)) / edge + 0.5, 0, 1)
    lamp = inside_side * inside_up * np.clip(facing * 8, 0, 1)
    lamp *= np.float32(2.6 * light.key) / (1 + roughness * np.float32(2.0))
    strip = np.clip((np.float32(0.10) - np.abs(forward + 0.86)) / edge + 0.5, 0, 1)
    lamp += strip * np.float32(0.5 * light.key)
    tent = np.float32(0.25) + smoothstep(-0.3, 0.95, z) * (
        1 - np.float32(0.25) * smoothstep(0.9, 1.0, z)
    )
    return lamp, tent * np.float32(light.tent)


def falloff(size_px: int, light: Light) -> Plane:
    """How much brighter the side of the table is that lies nearer to the lamp."""
    x, y = pixel_grid(size_px)
    lx, ly, _ = light.direction
    return 1 + np.float32(0.28 * lx) * x + np.float32(0.28 * ly) * y


def radiance(surface: Surface, light: Light) -> Radiance:
    """What the camera receives from a lit surface; a white table gives about 1."""
    nx, ny, nz = normals(surface.height)
    lx, ly, lz = light.direction
    sky = crevice_darkening(surface.height)
    seen = cast_shadow(surface.height, light)
    facing = np.maximum(
        nx * np.float32(lx) + ny * np.float32(ly) + nz * np.float32(lz), 0
    )
    dielectric = 1 - surface.metal
    diffuse = (
        facing
        * (1 - np.float32(light.shadow) * (1 - seen))
        * np.float32(light.key / max(lz, 0.2))
    )
    diffuse += sky * (np.float32(0.6) + np.float32(0.4) * nz) * np.float32(light.tent)
    lamp, tent = environment(
        2 * nz * nx, 2 * nz * ny, 2 * nz * nz - 1, surface.roughness, light
    )
    mirrored = lamp * (np.float32(0.25) + np.float32(0.75) * seen) + tent * sky
    if surface.sheen is not None:
        mirrored += surface.sheen * np.float32(light.key) * seen
    grazing = (1 - nz) ** 5 * (1 - surface.roughness)
    gloss = (1 - surface.roughness) * np.float32(LAMP_TO_PAPER)
    clear = np.float32(0.04) + np.float32(0.7) * grazing
    clear = clear * dielectric * (mirrored + gloss * lamp * seen)
    near = falloff(surface.height.shape[1], light)
    clear, diffuse, mirrored = clear * near, diffuse * near, mirrored * near
    coloured = diffuse * dielectric + surface.metal * mirrored
    gains = (1 + light.warmth / 2, 1.0, 1 - light.warmth / 2)
    out = np.empty_like(surface.albedo)
    for channel, gain in enumerate(gains):
        seen_colour = surface.albedo[..., channel] * coloured + clear
        np.multiply(seen_colour, np.float32(gain), out=out[..., channel])
    return out
