"""The gates that an anomaly must pass."""

import numpy as np

from agm_torch.blending import blend
from agm_torch.config import (
    GeneratorConfig,
)
from agm_torch.quality import contrast, rejection
from agm_torch.scene import Content, Region, Scene, SoftMask, bounding_box
from tests.agm_images import texture


def soft_mask(alpha):
    region = Region(np.ones(alpha.shape, bool), "whole image")
    return SoftMask(alpha, bounding_box(alpha, margin=1), "spot", region, False)


def test_gates_name_their_reason():
    normal = texture()
    scene = Scene(normal, "x", "texture", (), None, [normal])
    alpha = np.zeros((64, 64), np.float32)
    alpha[10:30, 10:30] = 1
    mask = soft_mask(alpha)

    def judged(config=None, *, image, mask=mask):
        content = Content(image[mask.box.slices].astype(np.float32), "test", 1.0)
        result = blend(normal, mask, content, beta=0.0)
        return rejection(config or GeneratorConfig(), scene, mask, result)

    dark = normal // 3
    assert judged(image=dark) is None
    assert judged(image=normal) == "empty"
    assert judged(image=normal + 4) == "faint"
    assert judged(GeneratorConfig(max_area=0.05), image=dark) == "too_large"
    assert judged(GeneratorConfig(min_area=0.12), image=dark) == "too_small"
    beside = Region(np.zeros((64, 64), bool), "test")
    assert judged(image=dark, mask=mask._replace(region=beside)) == "off_object"
    same_texture = texture(seed=1)
    strict = GeneratorConfig(min_contrast=2.0)
    assert judged(strict, image=same_texture) == "indistinct"


def test_a_blend_that_touches_one_bit_outside_its_mask_is_refused():
    normal = texture()
    scene = Scene(normal, "x", "texture", (), None, [normal])
    alpha = np.zeros((64, 64), np.float32)
    alpha[10:30, 10:30] = 1
    mask = soft_mask(alpha)
    content = Content((normal // 3)[mask.box.slices].astype(np.float32), "test", 1.0)
    result = blend(normal, mask, content, beta=0.0)
    assert rejection(GeneratorConfig(), scene, mask, result) is None
    result.image[60, 60, 2] ^= 1
    assert rejection(GeneratorConfig(), scene, mask, result) == "spilled"


def test_noise_for_the_same_noise_is_no_contrast_but_a_stain_is():
    rng = np.random.default_rng(0)
    for side in (4, 10, 30):
        mask = np.zeros((50, 50), bool)
        mask[10 : 10 + side, 10 : 10 + side] = True
        noise = rng.normal(128, 10, (40, 50, 50, 3)).astype(np.float32)
        same = [
            contrast(a, b, mask) for a, b in zip(noise[:20], noise[20:], strict=True)
        ]
        assert np.mean(np.array(same) < 1) > 0.7
        stained = [contrast(a, a * 0.6, mask) for a in noise]
        assert min(stained) > 1
        flat = [contrast(a, np.full_like(a, 128), mask) for a in noise]
        assert min(flat) > 1
