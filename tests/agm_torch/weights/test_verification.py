"""Files are hashed once; damaged and dangerous checkpoints are refused."""

import json
from pathlib import Path

import pytest

from agm_torch.model_config import WeightsConfig
from agm_torch.weights import verification
from agm_torch.weights.search import find_checkpoint
from datasets.weights import verification as hashes
from tests.agm_torch.weights.conftest import PAYLOAD, SHA256


def test_a_hash_is_computed_once_and_again_when_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(PAYLOAD)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    hashed = []
    real = hashes.file_sha256
    monkeypatch.setattr(hashes, "file_sha256", lambda p: hashed.append(p) or real(p))
    first = find_checkpoint(str(path), config=config)
    assert find_checkpoint(str(path), config=config) == first
    assert len(hashed) == 1
    path.write_bytes(PAYLOAD[::-1] + b"longer")
    assert find_checkpoint(str(path), config=config).identity != first.identity
    assert len(hashed) == 2
    path.touch()
    for _ in range(2):  # touched, not changed: looked at once more, and remembered
        find_checkpoint(str(path), config=config)
    assert len(hashed) == 3


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the agm extra is not installed")
    path = tmp_path / "evil.pth"
    torch.save({"weights": _Evil(tmp_path / "touched")}, path)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    found = find_checkpoint(str(path), config=config)
    with pytest.raises(ValueError, match=r"evil.pth is not a readable checkpoint"):
        verification.load_checkpoint(found)
    assert not (tmp_path / "touched").exists()


def test_a_truncated_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the agm extra is not installed")
    path = tmp_path / "short.pth"
    torch.save({"weights": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    found = find_checkpoint(str(path), config=config)
    with pytest.raises(ValueError, match=r"short.pth is not a readable checkpoint"):
        verification.load_checkpoint(found)


def test_a_damaged_record_of_checked_files_is_replaced(tmp_path: Path) -> None:
    config = WeightsConfig(folder=tmp_path, offline=True)
    (tmp_path / "verified.json").write_text("{nonsense")
    (tmp_path / "mine.pth").write_bytes(PAYLOAD)
    found = find_checkpoint(str(tmp_path / "mine.pth"), config=config)
    assert json.loads((tmp_path / "verified.json").read_text())
    assert found.identity == SHA256


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)
