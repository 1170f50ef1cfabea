"""A local server of weights, and a home without weights."""

from pathlib import Path

import pytest

from tests.file_server import PAYLOAD, SHA256, no_connections, server

__all__ = ["PAYLOAD", "SHA256", "no_connections", "server"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "LFQUIAD_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
