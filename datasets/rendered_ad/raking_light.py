"""Light on a flat sheet: a lamp from the side and diffuse light from a tent."""

import numpy as np

from datasets.rendered_ad.shading import Light, Radiance, normals
from datasets.rendered_ad.shapes import Plane


def raking_light(
    height: Plane,
    albedo: Radiance,
    light: Light,
    *,
    sky: Plane | float = 1.0,
    gloss: Plane | float = 0.0,
    shininess: float = 30.0,
) -> Radiance:
    """Radiance of a sheet seen from straight above; about 1 for a flat white sheet.

    Args:
      height: in image widths.
      sky: share of the tent's light that reaches a pixel.
      gloss: height of the lamp's Blinn-Phong reflection, which has the lamp's colour.
      shininess: exponent of that reflection.
    """
    x, y, z = normals(height)
    lx, ly, lz = light.direction
    facing = np.maximum(x * np.float32(lx) + y * np.float32(ly) + z * np.float32(lz), 0)
    diffuse = facing * np.float32(light.key / lz) + sky * np.float32(light.tent)
    half = np.array([lx, ly, lz + 1]) / np.sqrt(2 * lz + 2)
    hx, hy, hz = half.astype(np.float32)
    lobe = np.maximum(x * hx + y * hy + z * hz, 0) ** np.float32(shininess)
    specular = gloss * lobe * np.float32(light.key)
    gains = np.array([1 + light.warmth / 2, 1, 1 - light.warmth / 2], np.float32)
    return (albedo * diffuse[..., None] + specular[..., None]) * gains
