"""Weights are found or downloaded; a wrong byte is refused."""

import importlib.util
from pathlib import Path
from typing import Literal

import pytest

from agm_torch.config import GeneratorConfig
from agm_torch.generator import AnomalyGenerator
from agm_torch.model_config import DiffusionConfig, WeightsConfig
from agm_torch.weights import table
from agm_torch.weights.search import find_checkpoint, find_model, find_models
from agm_torch.weights.table import Checkpoint, HubModel, WeightFile
from tests.agm_torch.weights.conftest import PAYLOAD, SHA256


@pytest.fixture
def in_table(server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a made-up entry of the table, with the address of the local server."""
    file = WeightFile("model.pth", len(PAYLOAD), SHA256)
    entry = Checkpoint("tiny", file, server[0], "none")
    monkeypatch.setitem(table.CHECKPOINTS, "tiny", entry)
    return "tiny"


def test_a_missing_checkpoint_is_fetched_once_and_verified(
    in_table: str, server, tmp_path: Path
) -> None:
    config = WeightsConfig(folder=tmp_path / "weights")
    found = find_checkpoint(in_table, config=config)
    assert found.path.read_bytes() == PAYLOAD
    assert found.identity == SHA256
    assert find_checkpoint(in_table, config=config) == found
    assert server[1].requests == ["all"]


@pytest.mark.usefixtures("no_connections")
def test_offline_the_message_names_file_address_place_and_the_generator_without_weights(
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


def test_a_users_file_is_accepted_unless_its_hash_is_wrong(tmp_path: Path) -> None:
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


def _hub_entry(file: WeightFile) -> HubModel:
    return HubModel("tiny-model", "owner/tiny", "c" * 40, (file,), "none")


def test_a_file_of_the_hub_cache_is_compared_with_the_hubs_own_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the agm extra is missing")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    entry = _hub_entry(WeightFile("model.safetensors"))
    monkeypatch.setitem(table.HUB_MODELS, "tiny-model", entry)
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


def test_a_hub_model_without_a_commit_is_identified_by_the_local_commit(
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


def test_a_broken_download_of_a_users_model_resumes(
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


def test_weights_are_in_the_cache_unless_they_have_their_own_folder(
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
    monkeypatch.setitem(table.HUB_MODELS, "tiny-model", entry)
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


def test_a_users_model_folder_is_identified_by_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    config = WeightsConfig(folder=tmp_path / "weights", offline=True)
    before = find_model(str(folder), config=config).identity
    assert before == find_model(str(folder), config=config).identity
    (folder / "config.json").write_text("{ }")
    assert find_model(str(folder), config=config).identity != before


@pytest.mark.parametrize("masks", ["foreground", "grounded_sam"])
def test_a_missing_extra_is_one_line_with_the_install_command(
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
