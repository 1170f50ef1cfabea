"""The main job with a pretrained network of random weights."""

import json
from pathlib import Path

import numpy as np
import pytest

import lfq_jax
from experiments.few_shot.__main__ import main
from tests.tiny_encoder import write_squeezenet
from tests.tiny_run import TINY, elsewhere, parts, refusal

__all__ = ["elsewhere", "parts"]  # fixtures


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that holds a SqueezeNet of random weights."""
    return write_squeezenet(tmp_path_factory.mktemp("weights") / "random.npz")


@pytest.mark.parametrize("at_once", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_run_names_its_backbone_and_its_detector_needs_no_weights_file(
    capsys, parts, tmp_path, weights, at_once
):
    copy = tmp_path / "copied.npz"
    copy.write_bytes(weights.read_bytes())
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
        ("resnet", "--backbone must be none or the path of a file of weights"),
        ("", "--backbone must be none or the path of a file of weights"),
        ("scratch", "(.npz or .safetensors), got scratch"),
        ("nowhere.npz", "nowhere.npz does not exist"),
        ("weights.pth", "(.npz or .safetensors), got weights.pth"),
    ],
)
def test_a_mistake_gets_one_line(capsys, tmp_path, backbone, said):
    message = refusal(capsys, "--backbone", backbone)
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


def test_a_preset_without_comparison_refuses_a_backbone(capsys, weights):
    message = refusal(capsys, "--preset", "paper", "--backbone", str(weights))
    assert "needs a preset that compares images" in message
