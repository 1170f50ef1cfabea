"""The process: kills, workers, signals, locks, and invalid requests."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import GeneratorConfig, Kind
from agm_torch.engine.fill import Interrupted
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from datasets.shards import MANIFEST, open_shards, shard_name
from tests.agm_images import part, texture
from tests.generate_command import run

PROJECT = Path(__file__).resolve().parents[3]
COUNT = 200
"""Records of `command`. They take a second, so a signal arrives before the last one."""


def job(
    count=12, *, per_shard=4, seed=0, images=None, kind: Kind = "object", px=48
) -> Job:
    config = GeneratorConfig(records_per_shard=per_shard)
    chosen = images or (part(0), part(1, px=80))
    return Job(chosen, "disc", kind, count, seed, px, config)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(2):
        Image.fromarray(part(seed)).save(folder / f"{seed}.png")
    return folder


def command(photographs, cache, *extra, count=COUNT, px=48) -> list[str]:
    return [
        *(sys.executable, "-m", "agm_torch", "generate", "--images", str(photographs)),
        *("--category", "disc", "--count", str(count), "--image-px", str(px)),
        *("--records-per-shard", "16", "--cache", str(cache), "--json-progress"),
        *extra,
    ]


def events(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def unbroken(photographs, tmp_path_factory) -> Path:
    """The folder that `command` makes without interruption."""
    done = run(command(photographs, tmp_path_factory.mktemp("unbroken")))
    assert done.returncode == 0, done.stderr
    last = events(done.stdout)[-1]
    assert last["event"] == "done"
    return Path(last["path"])


def begun(arguments, cache) -> subprocess.Popen[str]:
    """A process that has written its first shard."""
    process = subprocess.Popen(
        arguments,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not list(cache.glob("*.partial/shard-*")) and time.monotonic() < until:
        time.sleep(0.005)
    return process


def interrupted(arguments, cache, number) -> tuple[int, str]:
    """Exit status and output of a process that gets a signal after its first shard."""
    process = begun(arguments, cache)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def test_records_are_written_with_their_normal_images_and_provenance(tmp_path):
    asked = job()
    shards = open_shards(generate(asked, tmp_path))
    assert shards.images.shape == (12, 48, 48, 3)
    assert shards.masks.shape == (12, 48, 48)
    assert shards.sources.tolist() == [0, 1] * 6
    assert np.array_equal(shards.normals, asked.normals)
    changed = (shards.images != shards.normals[shards.sources]).any(axis=3)
    assert not changed[shards.masks == 0].any()
    assert all(changed.any(axis=(1, 2)))
    assert {"shape", "content", "beta", "region"} <= set(shards.provenance[0])
    tally = shards.manifest["tally"]
    assert sum(tally["content"].values()) == 12
    assert tally["region"] == {"foreground": 12}
    assert shards.manifest["options"] == asked.config.to_json()


def test_a_fallback_of_the_foreground_is_counted(tmp_path):
    asked = job(4, images=(texture(),))
    shards = open_shards(generate(asked, tmp_path))
    counted = shards.manifest["tally"]["region"]
    assert counted == {"whole image, no foreground found": 4}


def test_a_folder_is_resumed_only_in_the_environment_that_began_it(
    tmp_path, monkeypatch
):
    def here(**found: str) -> None:
        monkeypatch.setattr("agm_torch.engine.fill.environment", lambda job: found)

    def stopped_after(records: int) -> None:
        budget = iter(range(1 + records))  # one look is at the lock
        with pytest.raises(Interrupted):
            generate(job(), tmp_path, should_stop=lambda: next(budget, None) is None)

    here(device="some GPU", dtype="bfloat16", torch="2.9.0")
    stopped_after(0)
    here(device="cpu", dtype="float32", torch="2.9.0")  # of no record: anybody may
    stopped_after(5)
    here(device="some GPU", dtype="bfloat16", torch="2.9.0")
    with pytest.raises(
        ValueError,
        match="was begun with device cpu, dtype float32; here "
        "device some GPU, dtype bfloat16 would make other bytes: ",
    ):
        generate(job(), tmp_path)
    here(device="cpu", dtype="float32", torch="2.9.0")
    seen = []
    shards = open_shards(generate(job(), tmp_path, on_progress=seen.append))
    assert seen[0] == 5, "nothing was lost"
    assert shards.manifest["made_with"]["dtype"] == "float32"


def test_without_models_no_environment_is_recorded(tmp_path):
    folder = generate(job(), tmp_path)
    assert "made_with" not in open_shards(folder).manifest


def test_the_second_call_finds_the_folder_of_the_first(tmp_path, monkeypatch):
    folder = generate(job(), tmp_path)
    monkeypatch.setattr("agm_torch.engine.process._fill_missing", None)
    assert generate(job(), tmp_path) == folder


def test_every_part_of_the_request_is_in_the_key():
    keys = {
        asked.key
        for asked in (
            job(),
            job(13),
            job(seed=1),
            job(px=50),
            job(kind="texture"),
            job(images=(part(0),)),
            job(images=(part(1, px=80), part(0))),
            job(per_shard=5),
        )
    }
    assert len(keys) == 8
    assert job().key == job().key


def test_a_record_does_not_depend_on_how_many_there_are(tmp_path):
    few = open_shards(generate(job(5), tmp_path))
    many = open_shards(generate(job(9), tmp_path))
    assert np.array_equal(few.images, many.images[:5])


def test_one_and_two_workers_write_the_same_bytes(tmp_path):
    alone = generate(job(10), tmp_path / "alone")
    seen = []
    together = generate(job(10), tmp_path / "2", workers=2, on_progress=seen.append)
    assert digests(alone) == digests(together)
    assert seen[-1] == 10 and seen == sorted(seen)


def test_stopping_at_any_record_and_resuming_gives_the_same_bytes(tmp_path):
    expected = digests(generate(job(), tmp_path / "unbroken"))
    stops = 0
    while True:
        budget = iter(range(3))  # two records a run, then a stop
        try:
            folder = generate(
                job(),
                tmp_path / "broken",
                should_stop=lambda budget=budget: next(budget, None) is None,
            )
        except Interrupted:
            stops += 1
            continue
        break
    assert stops >= 3
    assert digests(folder) == expected


@pytest.mark.parametrize("extra", [(), ("--workers", "2")])
def test_a_killed_process_resumes_to_the_same_bytes(
    photographs, unbroken, tmp_path, extra
):
    arguments = command(photographs, tmp_path)
    status, _ = interrupted([*arguments, *extra], tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not list(tmp_path.glob(f"*/{MANIFEST}"))
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    first, last = events(done.stdout)[0], events(done.stdout)[-1]
    assert 16 <= first["done"] < COUNT and last["event"] == "done"
    assert digests(Path(last["path"])) == digests(unbroken)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_finishes_the_record_and_the_next_run_resumes(
    photographs, unbroken, tmp_path, number, status
):
    arguments = command(photographs, tmp_path)
    returned, output = interrupted(arguments, tmp_path, number)
    assert returned == status
    last = events(output)[-1]
    assert last["event"] == "interrupted"
    done = run(arguments)
    assert events(done.stdout)[0]["done"] >= last["done"] > 0
    assert digests(Path(events(done.stdout)[-1]["path"])) == digests(unbroken)


def test_two_processes_with_the_same_request_do_the_work_once(
    photographs, unbroken, tmp_path
):
    arguments = command(photographs, tmp_path)
    first = begun(arguments, tmp_path)
    second = run(arguments)
    outputs = [events(first.communicate(timeout=60)[0]), events(second.stdout)]
    assert (first.returncode, second.returncode) == (0, 0)
    waited = [any(e["event"] == "waiting" for e in output) for output in outputs]
    steps = [
        len({e["done"] for e in output if e["event"] == "progress"})
        for output in outputs
    ]
    assert waited == [False, True]
    assert steps[0] > 1 == steps[1]  # one made it, the other found it made
    assert digests(Path(outputs[0][-1]["path"])) == digests(unbroken)
    assert not list(tmp_path.glob("*.lock"))


def test_a_lock_whose_owner_died_is_taken_over(tmp_path):
    lock = tmp_path / f"{job().key}.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    waited = []
    generate(job(), tmp_path, on_wait=waited.append)
    assert not waited and not lock.exists()


def test_a_waiting_process_names_the_owner_and_takes_over_when_it_is_killed(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from agm_torch.cache.locks import locked\n"
        "with locked(Path(sys.argv[1]), on_wait=print): print('held', flush=True); "
        "time.sleep(60)"
    )
    folder = tmp_path / job().key
    owner = subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], cwd=PROJECT, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None and owner.stdout.readline() == b"held\n"
    waited = []

    def told(text: str) -> None:
        waited.append(text)
        owner.kill()

    assert generate(job(), tmp_path, on_wait=told) == folder
    owner.communicate()
    assert f"process {owner.pid} on " in waited[0] and waited[0].endswith(" s")


def test_a_damaged_folder_is_refused_and_made_again_on_request(
    photographs, unbroken, tmp_path
):
    folder = shutil.copytree(unbroken, tmp_path / unbroken.name)
    shard = folder / shard_name(1)
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    failed = run(command(photographs, tmp_path))
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1
    assert shard.name in failed.stderr and "--remove-damaged" in failed.stderr
    said = failed.stderr.split("; ")[1].split(" removes the folder")[0].split()
    assert run([sys.executable, *said[1:]]).returncode == 0
    done = run(command(photographs, tmp_path))
    assert done.returncode == 0 and digests(folder) == digests(unbroken)


def test_the_process_stops_when_its_reader_is_gone(photographs, tmp_path):
    process = subprocess.Popen(
        command(photographs, tmp_path, count=5000), cwd=PROJECT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 128 + signal.SIGPIPE
    assert list(tmp_path.glob("*.partial/*"))


def test_a_full_disk_ends_in_one_line_and_the_next_run_resumes(
    photographs, unbroken, tmp_path
):
    arguments = command(photographs, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (58 * 1024, limits[1]))
    try:
        failed = run(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert "begun-" in failed.stderr or "shard-" in failed.stderr
    assert not [path for path in tmp_path.glob("*/.*")]
    done = run(arguments)
    assert digests(Path(events(done.stdout)[-1]["path"])) == digests(unbroken)


def test_a_mistake_found_by_workers_is_one_line(photographs, tmp_path):
    offline = ["--weights.offline", "--weights.folder", str(tmp_path / "none")]
    failed = run(
        command(
            *(photographs, tmp_path, "--generator", "diffusion", "--workers", "2"),
            *offline,
        )
    )
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert "--generator texture needs no" in failed.stderr
    assert not list(tmp_path.glob("*.partial"))


def test_a_cache_that_cannot_be_written_is_named(photographs, tmp_path):
    (tmp_path / "file").write_text("")
    failed = run(command(photographs, tmp_path / "file"))
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and "file" in failed.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_named(photographs, tmp_path):
    tmp_path.chmod(0o555)
    failed = run(command(photographs, tmp_path))
    tmp_path.chmod(0o755)
    assert failed.returncode == 2 and "Permission denied" in failed.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--count", "0"], "count must be at least 1, got 0"),
        (["--image-px", "16"], "image_px must lie in [32, 4096], got 16"),
        (["--seed", "-1"], "seed must be 0 or more, got -1"),
        (["--workers", "0"], "workers must be at least 1, got 0"),
        (["--images", "/nowhere.png"], "/nowhere.png does not exist"),
        (["--dtd-dir", "/nowhere"], "dtd_dir /nowhere is not a folder"),
        (["--category", ""], "category must be the part's name"),
        (["--category", "a/b"], "without slashes, got 'a/b'"),
        (["--category", ".."], "category must be the part's name"),
        (["--cache-limit-gb", "-1"], "cache_limit_gb must be 0 or more, got -1"),
        (["--config", "/nowhere.json"], "exclude each other"),
        (["--content.blur", "-1"], "weight blur must be 0 or more"),
    ],
)
def test_invalid_requests_end_in_one_line(photographs, tmp_path, change, message):
    failed = run(command(photographs, tmp_path, *change))
    assert failed.returncode == 2
    assert message in " ".join(failed.stderr.replace("│", " ").split())


def test_photographs_that_cannot_be_used_are_named(tmp_path):
    small, broken, empty = (tmp_path / name for name in ("small", "broken", "empty"))
    for folder in (small, broken, empty):
        folder.mkdir()
    Image.fromarray(part(px=40)[:31]).save(small / "a.png")
    Image.fromarray(part()).save(broken / "b.png")
    data = (broken / "b.png").read_bytes()
    (broken / "b.png").write_bytes(data[: len(data) // 2])
    for folder, message in (
        (small, "images[0] must be at least 32 pixels a side, got 40 x 31"),
        (broken, "b.png cannot be read as an image"),
        (empty, "empty holds no image"),
    ):
        failed = run(command(folder, tmp_path / "cache"))
        assert failed.returncode == 2 and message in failed.stderr


def test_grey_and_sixteen_bit_photographs_are_read(tmp_path):
    grey = part()[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    done = run(command(tmp_path, tmp_path / "cache", count=2))
    assert done.returncode == 0, done.stderr
    shards = open_shards(Path(events(done.stdout)[-1]["path"]))
    assert np.array_equal(shards.normals[0], shards.normals[1])


def test_a_typo_exits_2_with_a_suggestion(photographs, tmp_path):
    failed = run(command(photographs, tmp_path, "--cuont", "3"))
    assert failed.returncode == 2
    assert "--count" in failed.stdout + failed.stderr
