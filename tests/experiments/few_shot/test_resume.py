"""How a stopped run is resumed, and with which settings."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.few_shot import runner
from experiments.few_shot.__main__ import main
from experiments.few_shot.resume import how_to_resume, resumed
from experiments.few_shot.settings import FewShot, read_settings
from experiments.run.folder import RunFolder
from lfq_jax.config import as_json
from tests.tiny_run import (
    TINY,
    blank_figures,
    elsewhere,
    parts,
    refusal,
    shared_anomalies,
    without_times,
    write_image,
)

__all__ = ["blank_figures", "elsewhere", "parts", "shared_anomalies"]  # fixtures
pytestmark = pytest.mark.usefixtures("blank_figures", "shared_anomalies")


def started(folder: Path, **settings: Any) -> RunFolder:
    """A run of the main job in which nothing is finished."""
    config = as_json(FewShot(**settings))
    return RunFolder.create(folder, config, "cpu", command="few_shot")


def test_a_stopped_run_resumes_where_it_stopped(capsys, parts, tmp_path, monkeypatch):
    out = tmp_path / "cut"
    arguments = ["--dataset", "folder", "--data-dir", str(parts), *TINY]
    real = runner.run_category

    def stop_at_ring(settings, category, *rest, **options):
        if category == "ring":
            raise KeyboardInterrupt
        return real(settings, category, *rest, **options)

    monkeypatch.setattr(runner, "run_category", stop_at_ring)
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--out", str(out)])
    assert stopped.value.code == 130
    assert f"--resume {out}" in capsys.readouterr().err
    monkeypatch.setattr(runner, "run_category", real)
    main(["--resume", str(out)])
    assert [x["category"] for x in without_times(out)] == ["plate", "ring"]


def test_a_run_resumes_with_its_own_categories_and_shots_of_the_data(
    capsys, parts, tmp_path, monkeypatch
):
    trained_on = []

    def stop(data, held_out, config, *, inputs, **options):
        trained_on.append(inputs)
        raise KeyboardInterrupt

    monkeypatch.setattr("lfq_jax.training.loop.train", stop)
    run = tmp_path / "run"

    def stopped(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert ended.value.code == 130
        return capsys.readouterr().err

    where = ("--dataset", "folder", "--data-dir", str(parts), "--shots", "1")
    stopped(*where, *TINY, "--out", str(run))
    assert RunFolder(run).config["categories"] == ["plate", "ring"]
    for i in range(3):
        drawn = parts / "plate" / "train" / "good" / f"0{i}.png"
        write_image(drawn, np.full((40, 48, 3), 90 + i, np.uint8))
    shutil.copytree(parts / "ring", parts / "bolt")
    assert "was started without: bolt" in stopped("--resume", str(run))
    before, after = trained_on
    assert before["shots"].keys() != after["shots"].keys()
    assert before["shards"] != after["shards"]
    shutil.rmtree(parts / "ring")
    said = refusal(capsys, "--resume", str(run))
    assert "needs its category ring, but the data has bolt, plate now" in said
    assert len(trained_on) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"model": {}}', "holds no run: its config.json has no config"),
        ('{"config": {"shots"', "config.json is damaged: "),
        (
            '{"command": "patchcore", "config": {}}',
            "holds a run of experiments.patchcore, not of experiments.few_shot",
        ),
    ],
)
def test_a_folder_without_a_run_of_the_main_job_is_not_resumed(
    capsys, tmp_path, content, said
):
    (tmp_path / "config.json").write_text(content)
    assert said in refusal(capsys, "--resume", str(tmp_path))


@pytest.mark.parametrize("old", [{}, {"encoder": "scratch"}])
def test_a_run_of_an_earlier_version_is_not_resumed(capsys, tmp_path, old):
    run = started(tmp_path / "old")
    content = json.loads(run.config_path.read_text())
    del content["config"]["backbone"]
    content["config"] |= old
    run.config_path.write_text(json.dumps(content))
    assert "earlier version" in refusal(capsys, "--resume", str(run.path))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--seed", "5"), "--seed was 0, got 5"),
        (("--train.epochs", "9"), "--train.epochs was "),
        (("--preset", "paper"), "--preset was best, got paper"),
        (("--shots", "2"), "--shots was 4, got 2"),
        (("--no-profile",), "--profile was True, got False"),
    ],
)
def test_resume_refuses_settings_that_differ_from_those_at_the_start(
    capsys, tmp_path, flags, said
):
    run = started(tmp_path / "run", shots=4, profile=True)
    message = refusal(capsys, "--resume", str(run.path), *flags)
    assert "keeps the settings that a run was started with" in message
    assert said in message


def test_resume_accepts_other_settings_of_the_machine(tmp_path):
    run = started(tmp_path / "run", agm_workers=4)
    argv = ["--resume", str(run.path), "--cache-dir", str(tmp_path / "c"), "--seed=0"]
    found = resumed(read_settings(argv), argv)
    assert (found.cache_dir, found.agm_workers) == (tmp_path / "c", 4)
    argv += ["--agm.workers", "1", "--at-once", "2"]
    found = resumed(read_settings(argv), argv)
    assert (found.agm_workers, found.at_once, found.devices) == (1, 2, 1)


def test_a_run_resumes_on_as_many_devices_as_are_named(capsys, tmp_path):
    run = started(tmp_path / "run")
    said = refusal(capsys, "--resume", str(run.path), "--devices", "9000")
    assert "devices must be in [0," in said and "9000" in said


def test_the_command_that_resumes_can_be_pasted(tmp_path):
    folder = started(tmp_path / "my runs" / "it's 2", at_once=2)
    message = how_to_resume(FewShot(at_once=2), folder)
    command = shlex.split(message.partition("resume with: ")[2])
    assert command == [
        *("python", "-m", "experiments.few_shot", "--resume", str(folder.path)),
        *("--at-once", "2"),
    ]
