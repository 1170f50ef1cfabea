"""The command of the fixed evaluation: settings, error messages, and resuming."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest

from experiments.accuracy import __main__ as accuracy
from experiments.accuracy import candidates
from experiments.accuracy.baseline import read_baseline
from experiments.accuracy.candidates import (
    as_draem,
    candidate_job,
    main_job,
    open_run,
)
from experiments.accuracy.data_sets import find_sets
from experiments.accuracy.settings import read_settings
from experiments.few_shot.settings import FewShot
from experiments.patchcore import runner
from experiments.patchcore.settings import PatchCore
from experiments.run.folder import RunFolder
from lfq_jax.config import ModelConfig
from lfq_jax.quantizers.config import NoneConfig
from tests.refusals import refused
from tests.tiny_encoder import write_squeezenet
from tests.tiny_run import TINY, elsewhere, parts

__all__ = ["elsewhere", "parts"]  # fixtures


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squeezenet(tmp_path_factory.mktemp("w") / "s.npz"))


@pytest.fixture
def real(parts: Path) -> Path:
    """The folder of parts, renamed to the categories of the two real data sets."""
    (parts / "plate").rename(parts / "leather")
    (parts / "ring").rename(parts / "magnetic_tile")
    return parts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--candidates", "padim"], "padim"),
        (["--candidates", "patchcore"], "--candidates patchcore needs --features"),
        (
            ["--candidates", "patchcore", "--features", "no.npz"],
            "no.npz does not exist",
        ),
        (["--candidates", "main", "main"], "--candidates must be one or more differen"),
        (
            ["--seeds", "0", "0"],
            "--seeds must be one or more different values, got 0 0",
        ),
        (["--seeds", "-1"], "--seeds must be at least 0 each, got -1"),
        (["--shots", "0"], "--shots must be at least 1, got 0"),
        (["--leather-dir", "nowhere"], "--leather-dir nowhere does not exist"),
        (["--tiles-dir", "nowhere"], "--tiles-dir nowhere does not exist"),
        (["--cookies-dir", "nowhere"], "--cookies-dir nowhere does not exist"),
        (["--dtd-dir", "nowhere"], "--dtd-dir nowhere does not exist"),
        (["--elpv-dir", "nowhere"], "--elpv-dir nowhere does not exist"),
        (["--data-sets", "cooky"], "got cooky; did you mean cookie?"),
        (
            ["--data-sets", "cookie"],
            "--data-sets cookie is not available: --cookies-dir",
        ),
        (["--backbones", "none", "none"], "--backbones must be one or more different"),
        (["--methods", "knn", "--candidates", "draem"], "--methods needs main among"),
        (["--backbones", "none", "--", "--backbone", "x.npz"], "--backbones sets it"),
        (["--categories", "gaer"], "--categories must be some of"),
        (["--resume", "nothing"], "nothing holds no run"),
        (["--write-baseline", "--categories", "gear"], "needs every category"),
        (["--write-baseline"], "needs every data set of the baseline; leather is"),
        (["--", "--seed", "3"], "--seed must not follow --: the evaluation sets it"),
        (["--", "--cache-dir", "x"], "--cache-dir must not follow --: the"),
        (["--", "--dataset", "visa"], "--dataset must not follow --: the"),
        (["--", "--train.epoch", "3"], "--train.epoch"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_2(
    capsys, tmp_path, arguments, expected
):
    message = refused(capsys, accuracy.main, arguments)
    assert expected in message
    assert not (tmp_path / "runs").exists()


def test_draem_has_the_main_jobs_steps_but_no_quantizer_and_no_memory_bank():
    job = FewShot.of_preset("cpu")
    draem = as_draem(job)
    assert draem.train == job.train
    assert draem.anomalies == job.anomalies
    assert isinstance(draem.model.quantizer, NoneConfig)
    assert draem.model.memory_bank is None
    assert draem.model.discriminator_input == ModelConfig().discriminator_input
    assert draem.agm.masks == "perlin"
    assert draem.agm.content.tone == draem.agm.shapes.curve == 0
    photographs = as_draem(main_job(["--preset", "cpu", "--agm.dtd-dir", "dtd"]))
    assert photographs.agm.content.dtd == 1
    assert photographs.agm.content.noise == 0


def test_a_pretrained_backbone_is_used_by_the_main_job_and_not_by_draem(weights):
    job = main_job(["--preset", "cpu", "--backbone", str(weights)])
    assert job.model.memory_bank is not None
    assert job.model.memory_bank.backbone is not None
    draem = as_draem(job)
    assert draem.backbone == "none"
    assert draem.model.memory_bank is None


def test_flags_after_the_dashes_are_the_main_jobs():
    settings = read_settings(["--seeds", "5", "--", *TINY])
    assert settings.seeds == (5,)
    job = main_job(settings.flags)
    assert job.model.image_px == 32
    assert job.preset == "cpu"


@pytest.fixture
def small_patchcore(monkeypatch):
    """PatchCore on images of 64 px: its command's default takes seconds an image."""
    small = functools.partial(PatchCore, image_px=64, pictures=1)
    monkeypatch.setattr(candidates, "PatchCore", small)


@pytest.fixture
def only_real(monkeypatch):
    """Skip the rendered data set, which takes a minute."""

    def without_rendered(*arguments, **options):
        found, skipped = find_sets(*arguments, **options)
        return found[1:], skipped

    monkeypatch.setattr(accuracy, "find_sets", without_rendered)


def test_an_evaluation_prints_tables_resumes_and_becomes_a_baseline(
    capsys, real, tmp_path, weights, monkeypatch, only_real, small_patchcore
):
    baseline, out = tmp_path / "baseline.json", tmp_path / "out"
    arguments = [
        *("--candidates", "patchcore", "patchcore_unit", "--features", weights),
        *("--leather-dir", str(real), "--tiles-dir", str(real), "--seeds", "0", "1"),
        *("--out", str(out), "--baseline", str(baseline)),
    ]
    original = runner.run_category

    def stop_at_the_tiles(settings, encoder, view, category, *rest, **options):
        if category == "magnetic_tile":
            raise KeyboardInterrupt
        return original(settings, encoder, view, category, *rest, **options)

    monkeypatch.setattr(runner, "run_category", stop_at_the_tiles)
    with pytest.raises(SystemExit) as stopped:
        accuracy.main(arguments)
    assert stopped.value.code == 130
    assert f"--resume {out}" in capsys.readouterr().err
    monkeypatch.setattr(runner, "run_category", original)
    resumed = ["--resume", str(out), "--baseline", str(baseline)]
    accuracy.main(resumed)
    output = capsys.readouterr().out
    assert "patchcore: 2-shot, method PatchCore, backbone squeezenet1_1" in output
    assert "magnetic_tile, hole" in output
    assert "the baseline does not contain this candidate" in output
    monkeypatch.setattr(runner, "run_category", _must_not_run)
    accuracy.main([*resumed, "--write-baseline"])
    assert set(read_baseline(baseline)) == {"patchcore", "patchcore_unit"}
    capsys.readouterr()
    accuracy.main(resumed)
    output = capsys.readouterr().out
    assert "+0.000" in output
    assert "baseline of patchcore: seeds 0, 1" in output


@pytest.mark.slow
def test_draem_runs_like_the_main_job_with_two_runs_at_once(
    capsys, real, tmp_path, only_real
):
    accuracy.main(
        [
            *("--candidates", "draem", "--leather-dir", str(real), "--seeds", "1", "0"),
            *("--out", str(tmp_path / "out"), "--baseline", str(tmp_path / "none")),
            *("--", *TINY, "--at-once", "2"),
        ]
    )
    out, err = capsys.readouterr()
    assert (
        "draem: 2-shot, method lfquiad, preset cpu, backbone none, quantizer none"
        in out
    )
    assert "finished, 1 of 2 categories left" in err
    for seed in (0, 1):
        assert f"leather-seed{seed} leather: finished" in err
        run = tmp_path / "out" / "draem" / f"leather-seed{seed}"
        assert [line["seed"] for line in RunFolder(run).results()] == [seed]
        assert (run / "report.html").is_file()
        assert (run / "leather" / "detector" / "weights.safetensors").is_file()


def test_a_run_without_results_records_the_commit_at_which_it_continues(
    tmp_path,
):
    job = main_job(["--preset", "cpu"])

    def commit_after(path: Path) -> str:
        content = json.loads(path.read_text())
        content["provenance"]["git_commit"] = "an earlier one"
        path.write_text(json.dumps(content))
        return open_run(job, path.parent).commit

    place = open_run(job, tmp_path / "leather-seed0")
    now = place.commit
    assert commit_after(place.config_path) == now
    (place.path / "leather").mkdir()
    assert commit_after(place.config_path) == "an earlier one"[:7]


def _must_not_run(*_arguments, **_options):
    raise AssertionError("a finished run was run again")


def test_a_run_that_was_started_with_other_settings_is_refused(
    capsys, real, tmp_path, weights, small_patchcore
):
    out = tmp_path / "out"
    accuracy.main(
        [
            *("--candidates", "patchcore", "--features", weights, "--seeds", "0"),
            *("--leather-dir", str(real), "--categories", "leather"),
            *("--out", str(out), "--baseline", str(tmp_path / "none.json")),
        ]
    )
    path = out / "patchcore" / "leather-seed0" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["image_px"] = 96
    path.write_text(json.dumps(content))
    capsys.readouterr()
    arguments = ["--resume", str(out), "--baseline", str(tmp_path / "none.json")]
    message = refused(capsys, accuracy.main, arguments)
    assert "was started with other settings" in message


def test_training_free_candidates_are_the_main_job_with_another_method(weights):
    flags = ["--preset", "cpu", "--backbone", weights, "--train.epochs", "9"]
    for method in ("knn", "subspace"):
        job = candidate_job(method, flags, None)
        assert isinstance(job, FewShot)
        assert job.method == method
        assert job.training_free is not None
        bank = main_job(flags).model.memory_bank
        assert bank is not None
        assert bank.backbone is not None
        assert bank.backbone.stages == ("fire3", "fire5", "fire6", "fire9")
        coarse = dataclasses.replace(bank.backbone, stages=bank.backbone.stages[1:])
        assert job.training_free.backbone == coarse
        with pytest.raises(ValueError, match=f"--candidates {method} sets it"):
            candidate_job(method, ["--method", "lfquiad"], None)
