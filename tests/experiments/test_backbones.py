"""The list of backbones, and the command that fetches their weights."""

import dataclasses

import pytest

from experiments.backbones import main
from lfq_jax.backbones import search
from lfq_jax.backbones.published import PUBLISHED, PlainFile
from tests.file_server import PAYLOAD, SHA256, no_connections, server
from tests.refusals import refused

__all__ = ["no_connections", "server"]  # fixtures


@pytest.fixture(autouse=True)
def _empty_places(tmp_path, monkeypatch):
    """No weights anywhere; folders of the test."""
    monkeypatch.setenv("LFQUIAD_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(search, "_in_package", lambda _: None)
    monkeypatch.setattr("datasets.weights.hub.has_hub_library", lambda: False)


def _error(capsys, *argv: str) -> str:
    return refused(capsys, main, argv)


@pytest.mark.usefixtures("no_connections")
def test_the_list_says_what_is_here_and_where(capsys, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "resnet18-f37072fd.pth").write_bytes(b"damaged")
    main([])
    out = capsys.readouterr().out
    assert [name for name in PUBLISHED if f"\n{name}: " not in f"\n{out}"] == []
    assert "\nresnet18: DAMAGED: " in out
    assert "\nresnet50: not here\n" in out
    stages = "stage2 (4 px), stage3 (8 px), stage4 (16 px), stage5 (16 px)"
    assert f"  Apache-2.0; stages {stages}; mean 0.498" in out
    assert "stages upper_half (14 px); 448 px by default" in out
    assert "gated: an account must accept its licence" in out


def test_missing_weights_are_fetched_once(capsys, tmp_path, monkeypatch, server):
    entry = dataclasses.replace(
        PUBLISHED["resnet18"], sources=(PlainFile(server[0], len(PAYLOAD), SHA256),)
    )
    monkeypatch.setitem(PUBLISHED, "resnet18", entry)
    path = tmp_path / "weights" / "model.pth"
    for _ in range(2):
        main(["--fetch", "resnet18"])
        assert capsys.readouterr().out == f"resnet18: {path}\n"
    assert server[1].requests == ["all"]
    main([])
    assert f"resnet18: here, verified, in folder: {path}" in capsys.readouterr().out


@pytest.mark.usefixtures("no_connections")
def test_mistakes_get_one_line(capsys, monkeypatch):
    assert "did you mean resnet18" in _error(capsys, "--fetch", "resnet81")
    message = _error(capsys, "--fetch", "none")
    assert "dinov3_vitb16, got none" in message and "did you mean" not in message
    message = _error(capsys, "--fetch", "dinov3_vits16", "--offline")
    assert "gated: an account must have accepted its licence" in message
    assert message.count("\n") == 1
    monkeypatch.delenv("HF_HUB_OFFLINE")
