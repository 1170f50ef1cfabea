"""Blending follows the equation of the paper, and its mask is exact."""

import numpy as np

from agm_torch.blending import blend
from agm_torch.scene import Content, Region, SoftMask, bounding_box


def soft_mask(alpha):
    region = Region(np.ones(alpha.shape, bool), "whole image")
    return SoftMask(alpha, bounding_box(alpha, margin=1), "spot", region, False)


def test_blending_follows_the_papers_equation():
    rng = np.random.default_rng(0)
    normal = rng.integers(0, 256, (20, 20, 3), np.uint8)
    alpha = np.zeros((20, 20), np.float32)
    alpha[5:15, 5:15] = rng.uniform(0.5, 1, (10, 10))
    mask = soft_mask(alpha)
    content = rng.uniform(0, 255, (*mask.box.shape, 3)).astype(np.float32)
    beta = 0.3
    result = blend(normal, mask, Content(content, "test", 1.0), beta=beta)
    m, n, a = alpha[:, :, None], normal.astype(float), np.zeros(normal.shape)
    a[mask.box.slices] = content
    expected = beta * (m * n) + (1 - beta) * (m * a) + (1 - m) * n
    inside = result.mask > 0
    assert inside.sum() > 80
    error = np.abs(result.image.astype(float) - expected)[inside]
    assert error.max() <= 0.51


def test_invisible_changes_are_undone():
    normal = np.full((20, 20, 3), 100, np.uint8)
    alpha = np.zeros((20, 20), np.float32)
    alpha[4:16, 4:16] = 1
    mask = soft_mask(alpha)
    pixels = np.full((*mask.box.shape, 3), 102, np.float32)
    pixels[:, 7:] = 140
    result = blend(normal, mask, Content(pixels, "test", 1.0), beta=0.0)
    changed = (result.image != normal).any(axis=2)
    assert np.array_equal(changed, result.mask > 0)
    assert changed.sum() == 12 * (16 - (mask.box.left + 7))
