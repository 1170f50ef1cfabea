"""The weights command: list and fetch."""

import subprocess
import sys
from pathlib import Path


def _weights_command(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agm_torch", "weights", *flags],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_lists_published_and_local_weights(tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(b"not SAM")
    done = _weights_command("list", "--weights.folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "sam_vit_h: not here; Apache-2.0" in lines
    damaged = next(line for line in lines if line.startswith("sam_vit_b"))
    assert "DAMAGED" in damaged and str(path) in damaged
    assert any("2,564,550,879 bytes, sha256 a7bf3b02f3eb" in line for line in lines)
    assert any("unet/" in line and "not pinned here" in line for line in lines)


def test_offline_the_command_fetches_nothing_and_names_what_to_do(
    tmp_path: Path,
) -> None:
    done = _weights_command(
        "fetch", "--masks", "foreground", "--weights.offline",
        "--weights.folder", str(tmp_path), "--diffusion.model", "someone/model",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: someone/model is not in the Hugging Face ca")
    assert done.stderr.count("\n") == 1
