"""The generator: from a normal image to an anomalous one and its mask."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from agm_torch.config import (
    ContentWeights,
    GeneratorConfig,
)
from agm_torch.generator import AnomalyGenerator
from tests.agm_images import part, texture

KINDS = {"texture": texture, "object": part}


def draw(kind, seeds, *, config=None, px=64):
    generator = AnomalyGenerator(config, kind=kind)
    (scene,) = generator.scenes([KINDS[kind](px=px)], category="x")
    rngs = [np.random.default_rng((7, seed)) for seed in seeds]
    return scene.image, generator.draw([scene] * len(rngs), rngs)


def only(*names, **options):
    zeros = {field.name: 0.0 for field in dataclasses.fields(ContentWeights)}
    weights = ContentWeights(**{**zeros, **dict.fromkeys(names, 1.0)})
    return GeneratorConfig(content=weights, **options)


@pytest.mark.parametrize("kind", ["texture", "object"])
def test_outside_the_mask_nothing_changes_and_inside_something_does(kind):
    image, anomalies = draw(kind, range(60))
    for anomaly in anomalies:
        changed = (anomaly.image != image).any(axis=2)
        mask = anomaly.mask > 0
        assert set(np.unique(anomaly.mask)) == {0, 255}
        assert not changed[~mask].any()
        assert changed[mask].mean() > 0.3
        assert not anomaly.soft_mask[~mask].any()
        assert (anomaly.soft_mask[changed] > 0).all()


@pytest.mark.parametrize("kind", ["texture", "object"])
def test_every_kept_anomaly_passes_the_gates(kind):
    config = GeneratorConfig(min_area=0.01, max_area=0.08, min_change=9.0)
    image, anomalies = draw(kind, range(60), config=config)
    for anomaly in anomalies:
        mask = anomaly.mask > 0
        change = np.abs(anomaly.image.astype(int) - image)[mask]
        assert 0.01 <= mask.mean() <= 0.08
        assert change.mean() >= 9.0


def test_a_record_depends_on_its_own_generator_alone():
    _, together = draw("object", range(6))
    _, alone = draw("object", [4])
    assert np.array_equal(together[4].image, alone[0].image)
    assert together[4].provenance == alone[0].provenance
    assert not np.array_equal(together[3].image, together[4].image)


def test_anomalies_are_diverse():
    _, anomalies = draw("object", range(150))
    shapes = Counter(anomaly.provenance["shape"] for anomaly in anomalies)
    contents = Counter(anomaly.provenance["content"] for anomaly in anomalies)
    assert len(shapes) == 6 and max(shapes.values()) < 75
    assert len(contents) >= 11 and max(contents.values()) < 60
    areas = np.array([anomaly.provenance["area"] for anomaly in anomalies]) / 64**2
    assert np.quantile(areas, 0.1) < 0.005 and np.quantile(areas, 0.9) > 0.02


def test_anomalies_of_an_object_lie_on_it_or_touch_its_outline():
    generator = AnomalyGenerator(kind="object")
    (scene,) = generator.scenes([part(px=96)], category="disc")
    inside = scene.regions[0].inside
    beyond = 0
    for seed in range(60):
        (anomaly,) = generator.draw([scene], [np.random.default_rng(seed)])
        mask = anomaly.mask > 0
        if anomaly.provenance["beyond_outline"]:
            assert (mask & inside).any()
            beyond += bool((mask & ~inside).any())
        else:
            assert not (mask & ~inside).any()
    assert beyond >= 3


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_picture_of_one_colour_gets_visible_anomalies(colour):
    image = np.full((48, 48, 3), colour, np.uint8)
    generator = AnomalyGenerator(kind="object")
    for seed in range(20):
        anomaly = generator(image, category="x", rng=np.random.default_rng(seed))
        assert (anomaly.image != image).any()
        assert anomaly.provenance["region"] == "whole image, no foreground found"


def test_if_no_draw_passes_the_gates_a_plain_visible_anomaly_is_taken():
    config = dataclasses.replace(only("blur"), min_change=64.0, max_redraws=3)
    image, (anomaly,) = draw("texture", [0], config=config)
    assert anomaly.provenance["content"] == "plain"
    assert sum(anomaly.provenance["rejects"].values()) == 3
    mask = anomaly.mask > 0
    assert np.abs(anomaly.image.astype(int) - image)[mask].mean() > 64


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((31, 64, 3), np.uint8), "at least 32 pixels.*64 x 31"),
        (np.zeros((64, 64), np.uint8), "u8"),
        (np.zeros((64, 64, 3), np.float32), "float32"),
    ],
)
def test_images_of_a_wrong_size_or_type_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        AnomalyGenerator()(image, category="x", rng=np.random.default_rng(0))


def test_images_need_not_be_square():
    image = np.concatenate([texture(px=48)] * 3, axis=1)
    generator = AnomalyGenerator(kind="texture")
    for seed in range(30):
        anomaly = generator(image, category="x", rng=np.random.default_rng(seed))
        assert anomaly.image.shape == (48, 144, 3)
