"""Masks: where an anomaly goes, and of which shape and size."""

import dataclasses

import numpy as np
import pytest

from agm_torch.config import GeneratorConfig, ShapeWeights
from agm_torch.masks import draw_mask, region_source, weighted_choice
from agm_torch.scene import Region
from tests.agm_images import part

CONFIG = GeneratorConfig()


def test_shapes_differ_from_draw_to_draw_and_repeat_with_the_seed():
    region = Region(np.ones((64, 64), bool), "whole image")
    masks = [draw_mask(CONFIG, region, np.random.default_rng(s)) for s in (0, 1, 0)]
    first, second, again = (mask.alpha for mask in masks if mask is not None)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("shape", [(32, 32), (40, 90), (131, 64)])
def test_masks_lie_in_the_region_and_in_their_box(shape):
    config = dataclasses.replace(CONFIG, silhouette_share=0.0)
    inside = np.zeros(shape, bool)
    inside[8:24, 10:28] = True
    region = Region(inside, "test")
    for seed in range(60):
        mask = draw_mask(config, region, np.random.default_rng(seed))
        if mask is None:
            continue
        assert mask.alpha.any() and mask.alpha.max() <= 1
        assert not mask.alpha[~inside].any()
        outside = mask.alpha.copy()
        outside[mask.box.slices] = 0
        assert not outside.any()


def test_the_configured_share_of_masks_reaches_beyond_the_outline():
    inside = np.zeros((64, 64), bool)
    inside[20:44, 20:44] = True
    config = dataclasses.replace(CONFIG, silhouette_share=0.5)
    region, beyond = Region(inside, "test"), []
    for seed in range(80):
        mask = draw_mask(config, region, np.random.default_rng(seed))
        if mask is not None:
            beyond.append(mask.beyond_outline)
            assert mask.beyond_outline or not mask.alpha[~inside].any()
    assert 0.3 < np.mean(beyond) < 0.7


def test_weights_decide_what_is_drawn():
    only = ShapeWeights(perlin=0, spot=0, scatter=0, curve=0, polygon=0, band=1)
    config = dataclasses.replace(CONFIG, shapes=only)
    region = Region(np.ones((64, 64), bool), "whole image")
    for seed in range(5):
        mask = draw_mask(config, region, np.random.default_rng(seed))
        assert mask is not None and mask.shape == "band"
    rng = np.random.default_rng(0)
    names = [weighted_choice({"a": 1.0, "b": 3.0, "c": 0.0}, rng) for _ in range(400)]
    assert names.count("c") == 0 and 250 < names.count("b") < 350


def test_the_kind_decides_where_anomalies_lie():
    assert CONFIG.mask_source("texture") == "perlin"
    assert CONFIG.mask_source("object") == "foreground"
    diffusion = GeneratorConfig(generator="diffusion")
    assert diffusion.mask_source("object") == "grounded_sam"
    asked = GeneratorConfig(masks="foreground")
    assert asked.mask_source("texture") == "foreground"
    (region,) = region_source(CONFIG, "texture").regions(part(), "x")
    assert region.is_whole and region.how == "whole image"
