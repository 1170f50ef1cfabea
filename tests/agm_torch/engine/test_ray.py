"""The Ray engine makes the same bytes as one process, also after kills and stops."""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import GeneratorConfig
from agm_torch.engine.environment import library_versions
from agm_torch.engine.job import Job
from agm_torch.engine.ray_engine import Maker, fill_with_ray
from agm_torch.engine.records import RecordMaker
from datasets.shards import ShardWriter
from tests.agm_images import part
from tests.generate_command import run

PROJECT = Path(__file__).resolve().parents[3]
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the ray extra is not installed"
)


def job(**config) -> Job:
    return Job((part(),), "disc", "object", 6, 0, 40, GeneratorConfig(**config))


def command(photograph: Path, cache: Path, *extra: str) -> list[str]:
    return [
        *(sys.executable, "-m", "agm_torch", "generate", "--images", str(photograph)),
        *("--category", "disc", "--count", "600", "--image-px", "96"),
        *("--records-per-shard", "150", "--cache", str(cache), "--json-progress"),
        *extra,
    ]


@pytest.fixture(scope="module")
def photograph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photograph") / "part.png"
    Image.fromarray(part(px=96)).save(path)
    return path


def digests(output: str) -> dict[str, str]:
    """Hashes of the files in the folder that the last line names."""
    folder = Path(json.loads(output.splitlines()[-1])["path"])
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def alone(photograph, tmp_path_factory) -> dict[str, str]:
    """Hashes of the files that one process makes without Ray."""
    done = run(command(photograph, tmp_path_factory.mktemp("alone")))
    assert done.returncode == 0, done.stderr
    return digests(done.stdout)


def begun(arguments: list[str]) -> subprocess.Popen:
    """A process that has made its first records with Ray."""
    process = subprocess.Popen(
        [*arguments, "--engine", "ray", "--workers", "2"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("done"):
            return process
    raise AssertionError(process.communicate()[1])


def actors(session: int) -> list[int]:
    """Process ids of the actors that a session's own cluster runs."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            is_actor = (folder / "cmdline").read_bytes().startswith(b"ray::Maker")
            if is_actor and os.getsid(int(folder.name)) == session:
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.slow
@with_ray
def test_a_cluster_makes_the_same_bytes_though_an_actor_is_killed(
    photograph, alone, tmp_path
):
    process = begun(command(photograph, tmp_path))
    killed = actors(process.pid)[0]
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert digests(output) == alone


@pytest.mark.slow
@with_ray
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_after_a_signal_a_process_without_ray_resumes(
    photograph, alone, tmp_path, number, status
):
    process = begun(command(photograph, tmp_path))
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    last = json.loads(output.splitlines()[-1])
    assert last["event"] == "interrupted" and 0 < last["done"] < 600
    until = time.monotonic() + 20
    while actors(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not actors(process.pid)
    done = run(command(photograph, tmp_path))
    first = json.loads(done.stdout.splitlines()[0])
    assert first["done"] == last["done"] and digests(done.stdout) == alone


def test_an_actor_makes_the_first_of_the_requested_records():
    asked = job()
    maker = Maker(asked)
    assert maker.prepare(asked.key, library_versions(asked)).refusal == ""
    made = maker.make(range(2, 5)).made
    expected = RecordMaker(asked).make(range(2, 5))
    assert 1 <= len(made) <= 3
    for got, wanted in zip(made, expected, strict=False):
        assert np.array_equal(got[0], wanted[0]) and got[2:] == wanted[2:]


def test_a_node_that_would_make_other_bytes_is_refused():
    asked = job()
    versions = {**library_versions(asked), "numpy": "1.0"}
    assert "not 1.0" in Maker(asked).prepare(asked.key, versions).refusal
    answer = Maker(asked).prepare("0" * 20, library_versions(asked))
    assert "another version of this project" in answer.refusal


def test_a_file_missing_on_a_node_is_named_in_one_line(tmp_path):
    (tmp_path / "dtd").mkdir()
    asked = job(dtd_dir=tmp_path / "dtd")
    key = asked.key
    (tmp_path / "dtd").rmdir()
    fresh = job(dtd_dir=tmp_path / "dtd")
    answer = Maker(fresh).prepare(key, library_versions(job()))
    assert "dtd is not a folder" in answer.refusal


@with_ray
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no cluster answers at 127.0.0.1:1"),
        ("nowhere", "ray_address must be host:port or auto, got 'nowhere'"),
        ("host:0", "ray_address must be host:port or auto"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(photograph, address, message):
    cache = photograph.parent / "cache"
    failed = run(
        command(photograph, cache, "--engine", "ray", "--ray-address", address)
    )
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1
    assert message in failed.stderr


def test_without_ray_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    writer = ShardWriter(tmp_path / "key", count=6, records_per_shard=2)
    with pytest.raises(FileNotFoundError, match=r"pip install -e '.\[ray\]'"):
        fill_with_ray(job(), writer, [0], print, lambda: False, workers=1)
