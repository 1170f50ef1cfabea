"""The main job with several backbones and methods, and more of them on resuming."""

from pathlib import Path

import pytest

from experiments.accuracy import grid
from experiments.accuracy.grid import main_jobs
from experiments.accuracy.settings import read_settings, resumed_settings
from experiments.run.folder import RunFolder
from lfq_jax.config import as_json
from tests.tiny_encoder import write_squeezenet


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squeezenet(tmp_path_factory.mktemp("w") / "s.npz"))


def test_the_main_job_is_measured_with_every_backbone(weights):
    assert list(main_jobs(["--preset", "cpu"], backbones=(), methods=())) == ["main"]
    jobs = main_jobs(["--preset", "cpu"], backbones=("none", weights), methods=())
    assert list(jobs) == ["none", "s"]
    assert [job.backbone for job in jobs.values()] == ["none", weights]
    assert {job.preset for job in jobs.values()} == {"cpu"}
    with pytest.raises(ValueError, match="different names, got s twice"):
        main_jobs([], backbones=(weights, f"./{weights}"), methods=())


def test_backbones_and_methods_become_flags_of_the_main_job(monkeypatch):
    monkeypatch.setattr(grid, "main_job", lambda flags: flags)
    jobs = main_jobs(
        ["--pictures", "3"], backbones=("none", "resnet18"), methods=("knn", "subspace")
    )
    assert jobs["resnet18-knn"] == (
        ["--pictures", "3", "--backbone", "resnet18", "--method", "knn"]
    )
    names = ["none-knn", "none-subspace", "resnet18-knn", "resnet18-subspace"]
    assert list(jobs) == names
    assert list(main_jobs([], backbones=(), methods=("knn",))) == ["knn"]


def test_a_resumed_evaluation_may_measure_more(tmp_path: Path):
    started = read_settings(["--seeds", "0", "--shots", "1", "--", "--pictures", "3"])
    RunFolder.create(tmp_path / "run", as_json(started), "cpu", command="accuracy")
    argv = ["--resume", str(tmp_path / "run"), "--backbones", "none", "resnet18"]
    argv += ["--shots", "4", "--", "--seeds", "7"]
    resumed = resumed_settings(read_settings(argv), argv)
    assert resumed.backbones == ("none", "resnet18")
    assert (resumed.seeds, resumed.shots, resumed.flags) == ((0,), 1, started.flags)
