"""Weights are found, fetched and verified; a wrong byte is refused."""

import hashlib
import http.server
import importlib.util
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from agm_torch import weights, weights_table
from agm_torch.config import GeneratorConfig
from agm_torch.download import download
from agm_torch.generator import AnomalyGenerator
from agm_torch.model_config import DiffusionConfig, GroundedSamConfig, WeightsConfig
from agm_torch.weights import (
    find_checkpoint,
    find_model,
    find_models,
    model_identities,
)
from agm_torch.weights_table import Checkpoint, HubModel, WeightFile

PAYLOAD = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, resumes, and can hang up in the middle."""

    cut_after: int | None = None
    requests: list[str]

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        asked = self.headers.get("Range")
        self.requests.append(asked or "all")
        start = int(asked.split("=")[1].rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = type(self).cut_after or len(data)
        self.wfile.write(data[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, type[_Server]]]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "model.pth").write_bytes(PAYLOAD)
    handler = type("Handler", (_Server,), {"requests": [], "cut_after": None})
    serve = partial(handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/model.pth", handler
        running.shutdown()


@pytest.fixture
def in_table(server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A made-up entry of the table whose address is the local server."""
    file = WeightFile("model.pth", len(PAYLOAD), SHA256)
    entry = Checkpoint("tiny", file, server[0], "none")
    monkeypatch.setitem(weights_table.CHECKPOINTS, "tiny", entry)
    return "tiny"


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "LFQUIAD_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_a_missing_checkpoint_is_fetched_once_and_verified(
    in_table: str, server, tmp_path: Path
) -> None:
    config = WeightsConfig(folder=tmp_path / "weights")
    found = find_checkpoint(in_table, config=config)
    assert found.path.read_bytes() == PAYLOAD
    assert found.identity == SHA256
    assert find_checkpoint(in_table, config=config) == found
    assert server[1].requests == ["all"]


def test_a_download_goes_on_where_it_broke_off(server, tmp_path: Path) -> None:
    address, handler = server
    handler.cut_after = 300_000
    want = {"size_bytes": len(PAYLOAD), "sha256": SHA256}
    with pytest.raises(OSError, match=r"broke off after 300000 of 1048576 bytes"):
        download(address, tmp_path / "model.pth", **want)
    assert not (tmp_path / "model.pth").exists()
    handler.cut_after = None
    download(address, tmp_path / "model.pth", **want)
    assert (tmp_path / "model.pth").read_bytes() == PAYLOAD
    assert handler.requests == ["all", "bytes=300000-"]


def test_a_download_with_a_wrong_hash_is_refused_and_removed(
    server, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"sha256 {SHA256}, expected 0000.*refused"):
        download(server[0], tmp_path / "model.pth", sha256="0" * 64)
    assert [p.name for p in tmp_path.glob("model*")] == []


def test_too_little_disk_space_is_said_before_the_first_byte(
    server, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=r"GB free, model.pth needs 1000000000\.0 GB"):
        download(server[0], tmp_path / "model.pth", size_bytes=10**18)
    assert server[1].requests == []


def test_an_unreachable_address_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot fetch http://127.0.0.1:9/x: .*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "x")


@pytest.mark.usefixtures("no_connections")
def test_offline_names_file_address_place_and_the_weight_free_way(
    tmp_path: Path,
) -> None:
    config = WeightsConfig(folder=tmp_path, offline=True)
    with pytest.raises(FileNotFoundError) as caught:
        find_checkpoint("sam_vit_h", config=config)
    message = str(caught.value)
    for part in (
        "sam_vit_h_4b8939.pth (2.6 GB)",
        "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        str(tmp_path / "sam_vit_h_4b8939.pth"),
        "--generator texture",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.usefixtures("no_connections")
def test_offline_model_folders_name_repository_commit_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="the agm extra is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    config = WeightsConfig(folder=tmp_path, offline=True)
    with pytest.raises(FileNotFoundError) as caught:
        find_model("stable-diffusion-v1-4", config=config)
    for part in (
        "CompVis/stable-diffusion-v1-4",
        "unet/diffusion_pytorch_model.safetensors",
        "tree/133a221b8aa7292a167afc5127cb63fb5005638b",
        str(tmp_path / "stable-diffusion-v1-4"),
        "--generator texture",
    ):
        assert part in str(caught.value)


def test_the_hub_variable_forbids_connections_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert WeightsConfig().may_connect
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not WeightsConfig().may_connect


def test_a_known_file_name_with_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_h_4b8939.pth"
    path.write_bytes(b"not SAM")
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    for name in (str(path), "sam_vit_h"):
        if name == "sam_vit_h":
            config = WeightsConfig(folder=tmp_path, offline=True)
        with pytest.raises(ValueError, match=r"expected a7bf3b02f3eb.*refused"):
            find_checkpoint(name, config=config)


def test_a_users_own_file_is_taken_with_its_hash_or_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(PAYLOAD)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    mine = str(tmp_path / "mine.pth")
    assert find_checkpoint(mine, config=config).identity == SHA256
    assert find_checkpoint(mine, config=config, sha256=SHA256.upper()).identity
    with pytest.raises(ValueError, match="expected 1111"):
        find_checkpoint(mine, config=config, sha256="1" * 64)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    config = WeightsConfig(folder=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'sam_vit_x' is neither.*sam_vit_h"):
        find_checkpoint("sam_vit_x", config=config)
    with pytest.raises(FileNotFoundError, match=r"'sd' is neither.*stable-diffusion"):
        find_model("sd", config=config)


def test_a_hash_is_computed_once_and_again_when_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(PAYLOAD)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    hashed = []
    real = weights.file_sha256
    monkeypatch.setattr(weights, "file_sha256", lambda p: hashed.append(p) or real(p))
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


def _hub_entry(file: WeightFile) -> HubModel:
    return HubModel("tiny-model", "owner/tiny", "c" * 40, (file,), "none")


def test_a_file_of_the_hub_cache_is_compared_with_the_hubs_own_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the agm extra is missing")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    entry = _hub_entry(WeightFile("model.safetensors"))
    monkeypatch.setitem(weights_table.HUB_MODELS, "tiny-model", entry)
    repository = tmp_path / "hub" / "models--owner--tiny"
    snapshot = repository / "snapshots" / ("c" * 40)
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    blob = repository / "blobs" / SHA256
    blob.write_bytes(PAYLOAD)
    (snapshot / "model.safetensors").symlink_to(blob)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)

    def find():
        return find_model("owner/tiny", config=config, revision="c" * 40)

    assert find().path == snapshot
    assert find().identity == f"owner/tiny@{'c' * 40}"
    blob.write_bytes(PAYLOAD[:-1] + b"!")
    with pytest.raises(ValueError, match=rf"expected {SHA256}: refused"):
        find()


def test_a_hub_model_named_without_a_commit_is_the_commit_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the agm extra is missing")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--me--mine"
    (repository / "snapshots" / ("d" * 40)).mkdir(parents=True)
    (repository / "refs").mkdir()
    for name in ("main", "v2"):
        (repository / "refs" / name).write_text("d" * 40)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    for revision in (None, "v2"):
        chosen = DiffusionConfig(model="me/mine", revision=revision)
        found = dict(find_models(config, grounded_sam=None, diffusion=chosen))
        assert found["diffusion"].identity == f"me/mine@{'d' * 40}"


def test_a_download_of_a_users_model_that_broke_off_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the agm extra is missing")
    asked = []

    def download(*, local_files_only: bool = False, **_: object) -> str:
        asked.append(local_files_only)
        return str(tmp_path / "snapshots" / ("d" * 40))

    monkeypatch.setattr(hub, "snapshot_download", download)
    (tmp_path / "snapshots" / ("d" * 40)).mkdir(parents=True)
    for offline in (False, True):
        config = WeightsConfig(folder=tmp_path / "weights", offline=offline)
        find_model("me/mine", config=config)
    assert asked == [False, True]


def test_weights_lie_in_the_cache_unless_they_have_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LFQUIAD_WEIGHTS", "LFQUIAD_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert WeightsConfig().directory == tmp_path / "lfquiad" / "weights"
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "moved"))
    assert WeightsConfig().directory == tmp_path / "moved" / "weights"
    monkeypatch.setenv("LFQUIAD_WEIGHTS", str(tmp_path / "apart"))
    assert WeightsConfig().directory == tmp_path / "apart"


def test_a_pinned_file_of_a_copied_model_folder_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = _hub_entry(WeightFile("model.safetensors", None, SHA256))
    monkeypatch.setitem(weights_table.HUB_MODELS, "tiny-model", entry)
    copied = tmp_path / "tiny-model" / "model.safetensors"
    copied.parent.mkdir()
    copied.write_bytes(PAYLOAD)
    config = WeightsConfig(folder=tmp_path, offline=True)
    assert find_model("tiny-model", config=config).path == copied.parent
    other = "d" * 40
    with pytest.raises(FileNotFoundError, match=f"into .*/tiny-model@{other}, or"):
        find_model("tiny-model", config=config, revision=other)  # not what lies there
    place = copied.parent.with_name(f"tiny-model@{other}")
    place.mkdir()
    (place / "model.safetensors").write_bytes(PAYLOAD)
    found = find_model("tiny-model", config=config, revision=other)
    assert (found.path, found.identity) == (place, f"owner/tiny@{other}")
    copied.write_bytes(PAYLOAD + b"!")
    with pytest.raises(ValueError, match="refused"):
        find_model("tiny-model", config=config)


def test_a_users_model_folder_is_known_by_all_that_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    before = find_model(str(folder), config=config).identity
    assert before == find_model(str(folder), config=config).identity
    (folder / "config.json").write_text("{ }")
    assert find_model(str(folder), config=config).identity != before


def test_models_have_an_identity_before_their_files_are_here(tmp_path: Path) -> None:
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    assert model_identities(
        config, grounded_sam=GroundedSamConfig(), diffusion=DiffusionConfig()
    ) == {
        "sam": weights_table.CHECKPOINTS["sam_vit_h"].file.sha256,
        "dino": weights_table.CHECKPOINTS["groundingdino_swint_ogc"].file.sha256,
        "bert": "google-bert/bert-base-uncased@"
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        "diffusion": "CompVis/stable-diffusion-v1-4@"
        "133a221b8aa7292a167afc5127cb63fb5005638b",
    }
    other = DiffusionConfig(model="me/mine", revision="v2", clip_margin=0.0)
    named = model_identities(config, grounded_sam=None, diffusion=other)
    assert named["diffusion"] == "me/mine@v2"
    assert named["clip"].startswith("openai/clip-vit-large-patch14@")


def test_a_users_file_is_its_bytes_and_not_its_place(tmp_path: Path) -> None:
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)

    def identity(name: str) -> str:
        chosen = GroundedSamConfig(sam=str(tmp_path / name))
        return model_identities(config, grounded_sam=chosen, diffusion=None)["sam"]

    (tmp_path / "a.pth").write_bytes(PAYLOAD)
    (tmp_path / "b.pth").write_bytes(PAYLOAD)
    assert identity("a.pth") == identity("b.pth") == SHA256
    with pytest.raises(FileNotFoundError, match=r"c\.pth' is neither"):
        identity("c.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the agm extra is not installed")
    path = tmp_path / "evil.pth"
    torch.save({"weights": _Evil(tmp_path / "touched")}, path)
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    found = find_checkpoint(str(path), config=config)
    with pytest.raises(ValueError, match=r"evil.pth is not a readable checkpoint"):
        weights.load_checkpoint(found)
    assert not (tmp_path / "touched").exists()


def test_a_truncated_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the agm extra is not installed")
    path = tmp_path / "short.pth"
    torch.save({"weights": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    found = find_checkpoint(str(path), config=config)
    with pytest.raises(ValueError, match=r"short.pth is not a readable checkpoint"):
        weights.load_checkpoint(found)


def test_every_hash_and_address_of_the_table_is_well_formed() -> None:
    files = [entry.file for entry in weights_table.CHECKPOINTS.values()]
    for model in weights_table.HUB_MODELS.values():
        files += model.files
        assert model.revision is not None and len(model.revision) == 40
        int(model.revision, 16)
        assert not any(file.name.endswith((".bin", ".ckpt")) for file in model.files)
    for file in files:
        if file.sha256 is not None:
            assert len(file.sha256) == 64
            int(file.sha256, 16)
    for entry in weights_table.CHECKPOINTS.values():
        assert entry.file.sha256, "a pickled file must be pinned"
        assert entry.address.endswith(entry.file.name)


def test_the_memory_of_checked_files_survives_nonsense(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("masks", ["foreground", "grounded_sam"])
def test_a_missing_extra_is_one_clear_line_and_names_the_way_without(
    monkeypatch: pytest.MonkeyPatch, masks: Literal["foreground", "grounded_sam"]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "diffusers" else real(name, *rest),
    )
    with pytest.raises(FileNotFoundError, match=r"^diffusers not installed: pip .*agm"):
        AnomalyGenerator(GeneratorConfig(generator="diffusion", masks=masks))


def _weights_command(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agm_torch", "weights", *flags],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_lists_what_is_published_and_what_is_here(tmp_path: Path) -> None:
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


def test_the_command_fetches_nothing_offline_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    done = _weights_command(
        "fetch", "--masks", "foreground", "--weights.offline",
        "--weights.folder", str(tmp_path), "--diffusion.model", "someone/model",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: someone/model is not in the Hugging Face ca")
    assert done.stderr.count("\n") == 1
