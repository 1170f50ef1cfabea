"""The process that generates anomalies: its results, progress, stops and errors."""

import os
import signal
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from agm_torch.config import GeneratorConfig
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from datasets.framing import Framing
from datasets.shards import MANIFEST, open_shards
from experiments.few_shot.__main__ import main
from experiments.few_shot.settings import FewShot
from experiments.quantizers import __main__ as quantizers
from experiments.quantizers.settings import CompareQuantizers
from experiments.run import anomaly_process
from experiments.run.anomaly_process import ensure_shards
from experiments.run.command_line import read_command_line
from tests.agm_images import part, texture
from tests.tiny_run import parts

__all__ = ["parts"]  # a fixture

CONFIG = GeneratorConfig(records_per_shard=16, beta_max=0.7)


def ensure(cache, *, count=20, normals=None, **options):
    arguments = {
        "category": "disc",
        "kind": "object",
        "seed": 3,
        "framing": Framing((48, 48), 8, is_texture=False),
        "config": CONFIG,
        "show_progress": False,
    }
    chosen = normals if normals is not None else [part(0, px=70), part(1)]
    return ensure_shards(
        chosen, count=count, cache_dir=cache, **{**arguments, **options}
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What one process makes of `ensure`'s default request."""
    return ensure(tmp_path_factory.mktemp("made"))


def program(tmp_path, text):
    """An executable that stands for another environment's Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_process_makes_what_the_library_makes(made, tmp_path):
    images = (part(0, px=70), part(1))
    job = Job(images, "disc", "object", 20, 3, 48, CONFIG)
    expected = generate(job, tmp_path)
    assert made.name == expected.name
    for path in expected.iterdir():
        assert (made / path.name).read_bytes() == path.read_bytes()
    assert len(open_shards(made)) == 20


def test_two_workers_make_the_bytes_of_one(made, tmp_path):
    two = ensure(tmp_path, workers=2)
    assert made.name == two.name
    for path in made.glob("[!.]*"):  # not the note of another test that it was verified
        assert (two / path.name).read_bytes() == path.read_bytes()


def test_a_hit_in_the_cache_starts_no_process(made, monkeypatch):
    monkeypatch.setattr(anomaly_process.subprocess, "Popen", None)
    assert ensure(made.parent) == made


def test_the_progress_is_shown_with_its_total(tmp_path, capsys):
    ensure(tmp_path, show_progress=True)
    shown = capsys.readouterr().err
    assert "disc: anomalies" in shown and "of 20" in shown


def test_a_killed_process_is_reported_and_the_next_run_resumes(tmp_path, monkeypatch):
    started = []
    popen = anomaly_process.subprocess.Popen

    def remembered(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    def kill_after_a_shard():
        while not list(tmp_path.glob("*.partial/shard-*")):
            time.sleep(0.005)
        os.kill(started[0].pid, signal.SIGKILL)

    monkeypatch.setattr(anomaly_process.subprocess, "Popen", remembered)
    killer = threading.Thread(target=kill_after_a_shard)
    killer.start()
    with pytest.raises(ChildProcessError, match=r"killed by SIGKILL.*resumes"):
        ensure(tmp_path, count=600)
    killer.join()
    assert not list(tmp_path.glob(f"*/{MANIFEST}"))
    assert len(open_shards(ensure(tmp_path, count=600))) == 600


def test_a_stop_ends_the_process_and_leaves_what_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ensure(
            tmp_path,
            count=2000,
            should_stop=lambda: bool(list(tmp_path.glob("*.partial/shard-*"))),
        )
    (partial,) = tmp_path.glob("*.partial")
    before = {path.name for path in partial.iterdir()}
    time.sleep(0.3)
    assert {path.name for path in partial.iterdir()} == before


def test_a_process_that_ctrl_c_ended_raises_keyboard_interrupt(tmp_path):
    python = program(tmp_path, "kill -INT $$")
    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path, python=python)
    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path, python=program(tmp_path, "exit 130"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'a defect' >&2; exit 1", r"ended with status 1 \(a defect\).*resumes"),
        ("echo 'error: no space left' >&2; exit 2", "^no space left$"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("exit 143", "killed by SIGTERM"),
        ("exit 0", "status 0"),
        ('echo \'{"event": "done", "path": "/c/other"}\'', "another version"),
        ("exec sleep 20", "wrote nothing for 1 s"),
    ],
)
def test_the_message_says_how_the_process_ended(tmp_path, monkeypatch, script, message):
    monkeypatch.setattr(anomaly_process, "_SILENCE_SECONDS", 1.0)
    with pytest.raises(ChildProcessError, match=message):
        ensure(tmp_path, python=program(tmp_path, script))


def test_an_interpreter_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ensure(tmp_path, python=tmp_path / "nowhere")


def test_a_refused_request_gives_the_generators_own_line(tmp_path):
    with pytest.raises(ChildProcessError, match=r"^count must be at least 1, got 0$"):
        ensure(tmp_path, count=0)


def test_images_of_different_sizes_and_kinds_are_taken(tmp_path):
    wide = np.concatenate([texture(), texture(1)], axis=1)
    folder = ensure(tmp_path, count=4, normals=[wide, texture(2)], kind="texture")
    shards = open_shards(folder)
    assert shards.normals.shape == (2, 48, 48, 3)
    assert shards.sources.tolist() == [0, 1, 0, 1]


def test_the_generators_interpreter_is_a_flag():
    settings = read_command_line(
        FewShot(), prog="few_shot", argv=["--agm.python", "/venv/bin/python"]
    )
    assert settings.agm_python == Path("/venv/bin/python")


@pytest.mark.parametrize("flag", ["--agm-workers", "--agm.workers"])
@pytest.mark.parametrize("default", [FewShot(), CompareQuantizers()])
def test_the_number_of_workers_is_a_flag_in_both_spellings(default, flag):
    settings = read_command_line(default, prog="a_command", argv=[flag, "2"])
    assert settings.agm_workers == 2


def test_the_number_of_workers_reaches_the_generator(tmp_path, parts, monkeypatch):
    asked = []

    def stop(*_, workers, **options):
        asked.append(workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(anomaly_process, "ensure_shards", stop)
    where = ("--dataset", "folder", "--data-dir", str(parts))
    flags = (*where, "--cache-dir", str(tmp_path / "cache"), "--agm-workers", "3")
    with pytest.raises(SystemExit, match="130"):
        main([*flags, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="130"):
        main(["--resume", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="130"):
        quantizers.main([*flags, "--out", str(tmp_path / "compared")])
    assert asked == [3, 3, 3]
