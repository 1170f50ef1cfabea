"""Light on a part: computes scene radiance from a height field with materials.

A softbox in a light tent lights the part. The camera is straight above it. Diffuse
reflection is Lambertian. Specular reflection shows an environment of one rectangular
lamp and a tent that is bright above and dim at the horizon. The lamp's edges get softer
with roughness. The share of specular reflection follows Schlick's Fresnel term.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

from datasets.rendered_ad.shapes import Plane, pixel_grid, smoothstep

LAMP_TO_PAPER = 7.0
"""Brightness of the lamp in a glossy coating, relative to its brightness in metal.

Metal parts are photographed through a diffuser, because they would be white without.
"""
SHADOW_SOFTNESS = 0.012
"""Height in image widths by which a blocker must exceed the ray for full shadow."""

Radiance = Float32[np.ndarray, "h w 3"]


class Surface(NamedTuple):
    """Shape and materials of the scene, one value per pixel.

    `height` is in image widths above the table. `albedo` is linear RGB, and the colour
    of specular reflection where `metal` is 1. `metal` and `roughness` are in [0, 1].
    `sheen` is reflected lamp light that the normals do not explain (brushed metal).
    """

    height: Plane
    albedo: Radiance
    metal: Plane
    roughness: Plane
    sheen: Plane | None = None


@dataclass(frozen=True)
class Light:
    """One lamp and the tent. Directions point from the part towards the light."""

    azimuth_degrees: float
    """Direction of the lamp, measured from x (right) towards y (down)."""
    elevation_degrees: float
    key: float = 1.0
    """Radiance of a white matte table under the lamp alone."""
    tent: float = 0.45
    """Radiance of a white matte table under the tent alone."""
    lamp_half_size: tuple[float, float] = (0.38, 0.22)
    """Half width (along the horizon) and half height, as sines of angles."""
    shadow: float = 0.6
    """Share of the lamp's light that shadows lack; the tent scatters the rest."""
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
        """Random variation of the light for one photograph."""
        return replace(
            self,
            azimuth_degrees=self.azimuth_degrees + float(rng.normal(0, 3)),
            elevation_degrees=self.elevation_degrees + float(rng.normal(0, 1.5)),
            key=self.key * float(rng.uniform(0.95, 1.05)),
            tent=self.tent * float(rng.uniform(0.95, 1.05)),
            warmth=self.warmth + float(rng.normal(0, 0.012)),
        )


def resize(plane: Plane, shape: tuple[int, int]) -> Float32[np.ndarray, "new_h new_w"]:
    """Change the resolution: bilinear to enlarge, a triangle filter to reduce."""
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    size = (shape[1], shape[0])
    return np.array(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def blur(plane: Plane, sigma_px: float) -> Plane:
    """Gaussian blur. Wide blurs are computed at a lower resolution."""
    reduction = int(max(1, min(8, sigma_px // 2)))
    if reduction == 1:
        return ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3)
    small = resize(plane, (plane.shape[0] // reduction, plane.shape[1] // reduction))
    small = ndimage.gaussian_filter(
        small, sigma_px / reduction, mode="nearest", truncate=3
    )
    return resize(small, (plane.shape[0], plane.shape[1]))


def normals(height: Plane) -> tuple[Plane, Plane, Plane]:
    """Unit normals (x, y, z) of a height field given in image widths."""
    slope_y, slope_x = np.gradient(height * np.float32(height.shape[1]))
    z = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    return -slope_x * z, -slope_y * z, z


def crevice_darkening(height: Plane) -> Plane:
    """Share of the tent's light that reaches a pixel; less beside higher pixels."""
    width = height.shape[1]
    light = np.ones_like(height)
    for sigma, strength in ((0.006, 28.0), (0.025, 9.0)):
        above = np.maximum(blur(height, sigma * width) - height, 0)
        light /= 1 + np.float32(strength) * above
    return light


def cast_shadow(height: Plane, light: Light) -> Plane:
    """Share of the lamp's light that reaches a pixel, by marching over the heights."""
    reduction = 4
    width = height.shape[1] // reduction
    low = resize(height, (height.shape[0] // reduction, width))
    lx, ly, lz = light.direction
    rise = lz / max(np.hypot(lx, ly), 1e-3)
    scale = np.hypot(lx, ly) / max(abs(lx), abs(ly))
    reach_px = int(np.ceil(float(low.max()) / rise * width)) + 1
    hidden = np.zeros_like(low)
    for step in range(1, reach_px + 1):
        dx = round(step * lx / max(abs(lx), abs(ly)))
        dy = round(step * ly / max(abs(lx), abs(ly)))
        blocker = np.roll(low, (-dy, -dx), (0, 1)) - step * scale / width * rise
        np.maximum(
            hidden, (blocker - low) * np.float32(1 / SHADOW_SOFTNESS), out=hidden
        )
    visible = 1 - np.clip(hidden, 0, 1)
    visible = ndimage.gaussian_filter(visible, 0.009 * width, mode="nearest")
    return resize(visible, (height.shape[0], height.shape[1]))


def environment(
    x: Plane, y: Plane, z: Plane, roughness: Plane, light: Light
) -> tuple[Plane, Plane]:
    """Radiance of lamp and tent, seen in the reflected directions (x, y, z)."""
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
    """Relative brightness of every pixel, which increases towards the lamp."""
    x, y = pixel_grid(size_px)
    lx, ly, _ = light.direction
    return 1 + np.float32(0.28 * lx) * x + np.float32(0.28 * ly) * y


def radiance(surface: Surface, light: Light) -> Radiance:
    """Radiance of a lit surface towards the camera; about 1 for a white table."""
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
    specular = lamp * (np.float32(0.25) + np.float32(0.75) * seen) + tent * sky
    if surface.sheen is not None:
        specular += surface.sheen * np.float32(light.key) * seen
    grazing = (1 - nz) ** 5 * (1 - surface.roughness)
    gloss = (1 - surface.roughness) * np.float32(LAMP_TO_PAPER)
    clear = np.float32(0.04) + np.float32(0.7) * grazing
    clear = clear * dielectric * (specular + gloss * lamp * seen)
    near = falloff(surface.height.shape[1], light)
    clear, diffuse, specular = clear * near, diffuse * near, specular * near
    coloured = diffuse * dielectric + surface.metal * specular
    gains = (1 + light.warmth / 2, 1.0, 1 - light.warmth / 2)
    out = np.empty_like(surface.albedo)
    for channel, gain in enumerate(gains):
        seen_colour = surface.albedo[..., channel] * coloured + clear
        np.multiply(seen_colour, np.float32(gain), out=out[..., channel])
    return out
