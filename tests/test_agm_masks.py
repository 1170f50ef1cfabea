"""Where anomalies go: noise, shapes, regions."""

import dataclasses

import numpy as np
import pytest

from agm_torch.config import GeneratorConfig, ShapeWeights
from agm_torch.masks import draw_mask, region_source, weighted_choice
from agm_torch.masks.foreground import Foreground, find_foreground
from agm_torch.masks.perlin import fractal_noise, perlin_noise
from agm_torch.masks.shapes import SHAPES, Canvas
from agm_torch.scene import Region
from tests.agm_images import part, texture

CONFIG = GeneratorConfig()


def brute_force_perlin(shape, cells, rng):
    """Perlin noise pixel by pixel, from the same draws as `perlin_noise`."""
    phases = rng.random(), rng.random()
    spots = [
        (np.arange(n) + 0.5) * c / n + phase
        for n, c, phase in zip(shape, cells, phases, strict=True)
    ]
    corners = tuple(int(np.floor(s[-1])) + 2 for s in spots)
    angle = rng.random(corners, dtype=np.float32) * 2 * np.pi
    noise = np.zeros(shape)
    for row, y in enumerate(spots[0]):
        for column, x in enumerate(spots[1]):
            for i in (int(y), int(y) + 1):
                for j in (int(x), int(x) + 1):
                    v, u = 1 - abs(y - i), 1 - abs(x - j)
                    weight = np.prod([6 * t**5 - 15 * t**4 + 10 * t**3 for t in (v, u)])
                    slope = np.cos(angle[i, j]) * (x - j) + np.sin(angle[i, j]) * (
                        y - i
                    )
                    noise[row, column] += weight * slope
    return noise * np.sqrt(2)


@pytest.mark.parametrize(("shape", "cells"), [((9, 13), (2.5, 4)), ((6, 6), (1, 1))])
def test_perlin_noise_equals_the_definition(shape, cells):
    fast = perlin_noise(shape, cells, np.random.default_rng(3))
    slow = brute_force_perlin(shape, cells, np.random.default_rng(3))
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32), (33, 257), (500, 47)])
def test_noise_has_any_size_and_stays_in_range(shape):
    rng = np.random.default_rng(0)
    assert np.abs(perlin_noise(shape, (5.3, 2.2), rng)).max() <= 1.001
    assert fractal_noise(shape, (4, 64), 3, rng).shape == shape


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("area", [20, 600])
def test_a_shape_around_the_middle_is_never_empty_and_about_as_large_as_asked(
    name, area
):
    allowed = np.ones((96, 96), bool)
    sizes = []
    for seed in range(20):
        canvas = Canvas(allowed, area, (48.0, 48.0))
        drawn = SHAPES[name](canvas, np.random.default_rng(seed))
        assert drawn.shape == (96, 96)
        assert 0 <= drawn.min() and drawn.max() <= 1 and drawn.any()
        sizes.append((drawn > 0).sum())
    assert area / 4 <= np.median(sizes) <= area * 5 + 60


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


def test_a_share_of_the_masks_reaches_beyond_the_outline():
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


def test_the_foreground_of_a_part_on_a_table_is_the_part():
    image = part(px=96)
    inside, background = find_foreground(image)
    y, x = np.indices((96, 96)) + 0.5
    disc = np.hypot(x - 48, y - 52.8) < 28.8
    overlap = (inside & disc).sum() / (inside | disc).sum()
    assert overlap > 0.9
    assert np.abs(background - image)[~disc].mean() < 6
    (region,) = Foreground(CONFIG).regions(image, "disc")
    assert region.how == "foreground"


@pytest.mark.parametrize("image", [np.full((64, 64, 3), 128, np.uint8), texture()])
def test_an_empty_or_full_foreground_falls_back_to_the_whole_image(image):
    (region,) = Foreground(CONFIG).regions(image, "sheet")
    assert region.is_whole
    assert region.how == "whole image, no foreground found"


def test_the_kind_decides_where_anomalies_lie():
    assert CONFIG.mask_source("texture") == "perlin"
    assert CONFIG.mask_source("object") == "foreground"
    diffusion = GeneratorConfig(generator="diffusion")
    assert diffusion.mask_source("object") == "grounded_sam"
    asked = GeneratorConfig(masks="foreground")
    assert asked.mask_source("texture") == "foreground"
    (region,) = region_source(CONFIG, "texture").regions(part(), "x")
    assert region.is_whole and region.how == "whole image"
