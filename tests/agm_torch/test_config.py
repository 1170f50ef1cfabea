"""Configurations: invalid values, JSON, and the identity."""

import pytest

from agm_torch.config import (
    ContentWeights,
    GeneratorConfig,
    config_from_json,
)
from agm_torch.content.borrowed import TexturePhotographs

ONLY_DTD = GeneratorConfig().to_json()["content"].keys() - {"dtd"}


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
def test_invalid_configurations_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config_from_json(values)


def test_a_configuration_survives_json(tmp_path):
    config = GeneratorConfig(
        dtd_dir=tmp_path, beta_max=0.5, content=ContentWeights(blur=0.0)
    )
    assert config_from_json(config.to_json()) == config


def test_the_identity_contains_what_decides_the_bytes_and_nothing_else(tmp_path):
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
