"""Identities of models before they are downloaded."""

from pathlib import Path

import pytest

from agm_torch.model_config import DiffusionConfig, GroundedSamConfig, WeightsConfig
from agm_torch.weights import table
from agm_torch.weights.identities import model_identities
from tests.agm_torch.weights.conftest import PAYLOAD, SHA256


def test_models_have_an_identity_before_they_are_downloaded(tmp_path: Path) -> None:
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    assert model_identities(
        config, grounded_sam=GroundedSamConfig(), diffusion=DiffusionConfig()
    ) == {
        "sam": table.CHECKPOINTS["sam_vit_h"].file.sha256,
        "dino": table.CHECKPOINTS["groundingdino_swint_ogc"].file.sha256,
        "bert": "google-bert/bert-base-uncased@"
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        "diffusion": "CompVis/stable-diffusion-v1-4@"
        "133a221b8aa7292a167afc5127cb63fb5005638b",
    }
    other = DiffusionConfig(model="me/mine", revision="v2", clip_margin=0.0)
    named = model_identities(config, grounded_sam=None, diffusion=other)
    assert named["diffusion"] == "me/mine@v2"
    assert named["clip"].startswith("openai/clip-vit-large-patch14@")


def test_a_users_file_is_identified_by_its_bytes_and_not_its_path(
    tmp_path: Path,
) -> None:
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)

    def identity(name: str) -> str:
        chosen = GroundedSamConfig(sam=str(tmp_path / name))
        return model_identities(config, grounded_sam=chosen, diffusion=None)["sam"]

    (tmp_path / "a.pth").write_bytes(PAYLOAD)
    (tmp_path / "b.pth").write_bytes(PAYLOAD)
    assert identity("a.pth") == identity("b.pth") == SHA256
    with pytest.raises(FileNotFoundError, match=r"c\.pth' is neither"):
        identity("c.pth")
