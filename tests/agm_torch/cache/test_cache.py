"""The shard cache: list, verify, prune."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from agm_torch.cache.entries import entries, verify
from agm_torch.cache.locks import locked
from agm_torch.cache.pruning import prune
from agm_torch.config import GeneratorConfig
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from datasets.shards import MANIFEST, open_shards, shard_name
from tests import generate_command
from tests.agm_images import part

UNFINISHED = "0123456789abcdef0123"


def job(seed: int, *, count: int = 6) -> Job:
    config = GeneratorConfig(records_per_shard=4)
    return Job((part(),), "disc", "object", count, seed, 40, config)


def aged(folder: Path, days: float) -> Path:
    """The folder, with the file times of a use some days ago."""
    then = (folder / MANIFEST).stat().st_mtime - days * 86400
    for path in folder.iterdir():
        os.utime(path, (then, then))
    return folder


@pytest.fixture
def cache(tmp_path) -> Path:
    """Three whole folders, seed 0 the least recently used, and an unfinished one."""
    cache = tmp_path / "cache"
    for seed, days in enumerate((30, 20, 10)):
        aged(generate(job(seed), cache), days)
    (cache / f"{UNFINISHED}.partial").mkdir()
    (cache / f"{UNFINISHED}.partial" / "begun-00000.safetensors").write_bytes(b"0" * 99)
    return cache


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return generate_command.run([sys.executable, "-m", "agm_torch", *arguments])


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def total(cache: Path) -> int:
    return sum(entry.size for entry in entries(cache))


def test_entries_are_sorted_by_their_last_use(cache):
    found = entries(cache)
    assert [entry.state for entry in found] == ["unfinished"] + ["whole"] * 3
    keys = [entry.folder.name for entry in found[1:]]
    assert keys == [job(2).key, job(1).key, job(0).key]


def test_opening_a_folder_counts_as_use(cache):
    open_shards(cache / job(0).key)
    assert entries(cache)[0].folder.name == job(0).key


def test_pruning_removes_the_least_recently_used_folder(cache):
    removed = prune(cache, max_bytes=total(cache) - 1)
    assert [entry.folder.name for entry in removed] == [job(0).key]
    assert names(cache) == {job(1).key, job(2).key, f"{UNFINISHED}.partial"}


def test_pruning_never_removes_a_folder_in_use(cache):
    shards = open_shards(cache / job(1).key)
    aged(cache / job(1).key, 40)
    with locked(
        cache / UNFINISHED, on_wait=lambda owner: None, should_stop=lambda: False
    ):
        prune(cache, max_bytes=0)
    assert names(cache) == {job(1).key, f"{UNFINISHED}.partial"}
    assert shards.images.shape == (6, 40, 40, 3)
    del shards
    prune(cache, max_bytes=0)
    assert names(cache) == set()


def test_the_folder_just_made_stays_whatever_the_limit_is(cache):
    kept = cache / job(0).key
    prune(cache, max_bytes=0, keep=kept)
    assert names(cache) == {kept.name}


def test_a_dry_run_names_no_folder_in_use(cache):
    shards = open_shards(cache / job(1).key)
    with locked(cache / UNFINISHED, on_wait=lambda owner: None):
        would = prune(cache, max_bytes=0, dry_run=True)
    assert {entry.folder.name for entry in would} == {job(0).key, job(2).key}
    assert len(shards) == 6


def test_the_remains_of_a_killed_removal_are_removed(cache):
    (cache / ".removed-0123").mkdir()
    (cache / ".removed-0123" / shard_name(0)).write_bytes(b"0")
    prune(cache, max_bytes=total(cache))
    assert not (cache / ".removed-0123").exists() and len(entries(cache)) == 4


def test_a_folder_that_disappears_during_the_listing_is_left_out(cache, monkeypatch):
    gone, real = cache / job(1).key, Path.stat

    def stat(path: Path, **options):
        if path.parent == gone and path.name != MANIFEST:
            raise FileNotFoundError(path)
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert {entry.folder.name for entry in entries(cache)} == {
        job(0).key,
        job(2).key,
        f"{UNFINISHED}.partial",
    }


def test_a_folder_that_is_finished_during_pruning_stays(cache, monkeypatch):
    listed = entries(cache)
    (cache / f"{UNFINISHED}.partial").rename(cache / UNFINISHED)
    monkeypatch.setattr("agm_torch.cache.pruning.entries", lambda _: listed)
    removed = prune(cache, max_bytes=0)
    assert {e.folder.name for e in removed} == {job(i).key for i in range(3)}
    assert names(cache) == {UNFINISHED} and not list(cache.glob("*.lock"))


def test_folders_that_are_no_entries_stay(cache):
    for name in ("weights", "rendered_ad", "weights.partial"):
        (cache / name).mkdir()
        (cache / name / MANIFEST).write_text("{}")
    prune(cache, max_bytes=0)
    assert names(cache) == {"weights", "rendered_ad", "weights.partial"}


def test_a_dry_run_removes_nothing(cache):
    before = names(cache)
    assert len(prune(cache, max_bytes=0, dry_run=True)) == 4
    assert names(cache) == before


def test_a_removed_folder_is_made_again_with_the_same_bytes(cache):
    folder = cache / job(0).key
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    prune(cache, max_bytes=0)
    assert not folder.exists()
    generate(job(0), cache)
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before


def test_damage_is_named_and_removed_on_request(cache):
    path = cache / job(1).key / shard_name(1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = verify(cache)
    assert shard_name(1) in found[job(1).key]
    assert found[job(0).key] == found[job(2).key] == ""
    shown = run("cache", "verify", "--cache", str(cache))
    assert shown.returncode == 1 and shard_name(1) in shown.stdout
    done = run("cache", "verify", "--cache", str(cache), "--remove-damaged")
    assert done.returncode == 0
    assert job(1).key not in names(cache)
    generate(job(1), cache)
    assert path.read_bytes() == whole


def test_the_command_lists_and_prunes(cache):
    shown = run("cache", "list", "--cache", str(cache))
    assert shown.returncode == 0
    assert job(0).key in shown.stdout and "4 folders" in shown.stdout
    assert "disc" in shown.stdout and "unfinished" in shown.stdout
    done = run("cache", "prune", "--cache", str(cache), "--limit-gb", "0")
    assert done.returncode == 0 and "removed 4 folders" in done.stdout
    assert names(cache) == set()
    failed = run("cache", "list", "--cache", str(cache / "nowhere"))
    assert failed.returncode == 2 and "nowhere is not a folder" in failed.stderr


def test_generating_with_a_limit_prunes_the_rest(cache, tmp_path):
    Image.fromarray(part()).save(tmp_path / "part.png")
    done = run(
        *("generate", "--images", str(tmp_path / "part.png"), "--category", "disc"),
        *("--count", "2", "--image-px", "40", "--cache", str(cache)),
        *("--cache-limit-gb", "0.00003"),
    )
    assert done.returncode == 0, done.stderr
    kept = names(cache)
    assert Path(done.stdout.strip()).name in kept
    assert job(0).key not in kept
