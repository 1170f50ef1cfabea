"""The content that needs no weights."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import (
    ContentWeights,
    GeneratorConfig,
    ShapeWeights,
)
from agm_torch.content import borrowed
from agm_torch.content.texture import PAINTS
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


@pytest.mark.parametrize("name", sorted(PAINTS))
@pytest.mark.parametrize("kind", ["texture", "object"])
def test_every_content_can_be_used_alone(name, kind):
    image, anomalies = draw(kind, range(4), config=only(name), px=80)
    assert {a.provenance["content"] for a in anomalies} <= {name, "plain"}
    assert any(a.provenance["content"] == name for a in anomalies)
    assert all((a.image != image).any() for a in anomalies)


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


def test_dtd_is_never_drawn_without_photographs():
    thin = ShapeWeights(
        **{**dict.fromkeys(GeneratorConfig().to_json()["shapes"], 0.0), "curve": 1.0}
    )
    config = dataclasses.replace(only("dtd", "warp"), shapes=thin)
    _, anomalies = draw("texture", range(3), config=config)
    assert {a.provenance["content"] for a in anomalies} <= {"warp", "plain"}
