"""From a normal image to an anomalous one: blending, gates, content."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from agm_torch.blend import blend
from agm_torch.config import (
    ContentWeights,
    GeneratorConfig,
    ShapeWeights,
    config_from_json,
)
from agm_torch.content import borrowed
from agm_torch.content.borrowed import TexturePhotographs
from agm_torch.content.texture import PAINTS
from agm_torch.generator import AnomalyGenerator
from agm_torch.quality import contrast, rejection
from agm_torch.scene import Content, Region, Scene, SoftMask, bounding_box
from tests.agm_images import part, texture

KINDS = {"texture": texture, "object": part}


ONLY_DTD = GeneratorConfig().to_json()["content"].keys() - {"dtd"}


def draw(kind, seeds, *, config=None, px=64):
    generator = AnomalyGenerator(config, kind=kind)
    (scene,) = generator.scenes([KINDS[kind](px=px)], category="x")
    rngs = [np.random.default_rng((7, seed)) for seed in seeds]
    return scene.image, generator.draw([scene] * len(rngs), rngs)


def only(*names, **options):
    zeros = {field.name: 0.0 for field in dataclasses.fields(ContentWeights)}
    weights = ContentWeights(**{**zeros, **dict.fromkeys(names, 1.0)})
    return GeneratorConfig(content=weights, **options)


def soft_mask(alpha):
    region = Region(np.ones(alpha.shape, bool), "whole image")
    return SoftMask(alpha, bounding_box(alpha, margin=1), "spot", region, False)


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


@pytest.mark.parametrize("name", sorted(PAINTS))
@pytest.mark.parametrize("kind", ["texture", "object"])
def test_every_content_can_be_asked_for_alone(name, kind):
    image, anomalies = draw(kind, range(4), config=only(name), px=80)
    assert {a.provenance["content"] for a in anomalies} <= {name, "plain"}
    assert any(a.provenance["content"] == name for a in anomalies)
    assert all((a.image != image).any() for a in anomalies)


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


def test_gates_that_nothing_passes_end_in_a_plain_visible_anomaly():
    config = dataclasses.replace(only("blur"), min_change=64.0, max_redraws=3)
    image, (anomaly,) = draw("texture", [0], config=config)
    assert anomaly.provenance["content"] == "plain"
    assert sum(anomaly.provenance["rejects"].values()) == 3
    mask = anomaly.mask > 0
    assert np.abs(anomaly.image.astype(int) - image)[mask].mean() > 64


def test_grey_images_get_mostly_grey_anomalies():
    grey = np.repeat(texture()[:, :, :1], 3, axis=2)
    generator = AnomalyGenerator(kind="texture")
    (scene,) = generator.scenes([grey], category="x")
    rngs = [np.random.default_rng(seed) for seed in range(40)]
    coloured = [
        np.ptp(anomaly.image.astype(int), axis=2).max() > 3
        for anomaly in generator.draw([scene] * 40, rngs)
    ]
    assert np.mean(coloured) < 0.2


def test_texture_photographs_are_used_where_given(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "banded").mkdir()
    for name in ("a.jpg", "b.png"):
        pixels = rng.integers(0, 256, (50, 70, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "banded" / name)
    ramp = np.linspace(0, 60_000, 50 * 70).reshape(50, 70).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "banded" / "wide.png")
    wide = borrowed._photograph(tmp_path / "banded" / "wide.png")
    np.testing.assert_array_equal(wide[..., 0], ramp >> 8)
    config = only("dtd", dtd_dir=tmp_path)
    _, anomalies = draw("texture", range(5), config=config)
    assert any(a.provenance["content"] == "dtd" for a in anomalies)
    (tmp_path / "banded" / "c.png").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"c.png cannot be read as an image"):
        borrowed._photograph(tmp_path / "banded" / "c.png")
    with pytest.raises(FileNotFoundError, match="holds no image"):
        (tmp_path / "empty").mkdir()
        AnomalyGenerator(GeneratorConfig(dtd_dir=tmp_path / "empty"))


def test_photographs_that_are_not_given_are_not_drawn_for_want_of_better():
    thin = ShapeWeights(
        **{**dict.fromkeys(GeneratorConfig().to_json()["shapes"], 0.0), "curve": 1.0}
    )
    config = dataclasses.replace(only("dtd", "warp"), shapes=thin)
    _, anomalies = draw("texture", range(3), config=config)
    assert {a.provenance["content"] for a in anomalies} <= {"warp", "plain"}


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


def test_changes_that_cannot_be_seen_are_taken_back():
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta_max": 1.0}, "beta_max"),
        ({"max_area": 0.0001}, "max_area"),
        ({"max_redraws": 0}, "max_redraws"),
        ({"content": {"blur": -1.0}}, "blur"),
        ({"shapes": dict.fromkeys(GeneratorConfig().to_json()["shapes"], 0)}, "above"),
        ({"betamax": 1.0}, "betamax"),
        ({"generator": "difusion"}, "generator must be one of texture, diffusion, got"),
        ({"masks": "perlinn"}, "masks must be one of auto, perlin, foreground, "),
        ({"diffusion": {"pipeline": "x"}}, "pipeline must be one of diffedit, inpaint"),
        ({"device": {"precision": "fp8"}}, "precision must be one of auto, fp32, "),
        (
            {"content": dict.fromkeys(ONLY_DTD, 0.0)},
            "content must have a weight above 0 beside dtd where dtd_dir names no",
        ),
    ],
)
def test_configurations_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config_from_json(values)


def test_a_configuration_survives_json(tmp_path):
    config = GeneratorConfig(
        dtd_dir=tmp_path, beta_max=0.5, content=ContentWeights(blur=0.0)
    )
    assert config_from_json(config.to_json()) == config


def test_identity_names_what_decides_the_bytes_and_nothing_else(tmp_path):
    plain = GeneratorConfig().identity("texture")
    assert plain == GeneratorConfig(masks="perlin").identity("texture")
    assert plain != GeneratorConfig(beta_max=0.5).identity("texture")
    assert plain != GeneratorConfig(masks="foreground").identity("texture")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"same")
    (tmp_path / "b" / "._x.png").write_bytes(b"what a Mac keeps of a file")
    first, second = (
        GeneratorConfig(dtd_dir=tmp_path / name).identity("texture") for name in "ab"
    )
    assert first == second != plain
    assert [p.name for p in TexturePhotographs(tmp_path / "b").paths] == ["x.png"]
