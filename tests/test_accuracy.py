"""The fixed evaluation: what it takes, what a mistake gets, and that it goes on."""

import json
from pathlib import Path

import pytest

from experiments import accuracy, patchcore
from experiments.accuracy_baseline import read_baseline
from experiments.accuracy_candidates import as_draem, main_job, open_run
from experiments.accuracy_sets import find_sets, sampled
from experiments.few_shot import FewShot
from experiments.run import RunFolder
from lfq_jax.config import ModelConfig
from lfq_jax.quantizers.config import NoneConfig
from tests.test_few_shot import TINY, elsewhere, parts
from tests.tiny_encoder import write_squeezenet

__all__ = ["elsewhere", "parts"]  # fixtures


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squeezenet(tmp_path_factory.mktemp("w") / "s.npz"))


@pytest.fixture
def real(parts: Path) -> Path:
    """The parts under the names of the two real data sets."""
    (parts / "plate").rename(parts / "leather")
    (parts / "ring").rename(parts / "magnetic_tile")
    return parts


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--candidates", "padim"], "padim"),
        (["--candidates", "patchcore"], "--candidates patchcore needs --features"),
        (
            ["--candidates", "patchcore", "--features", "no.npz"],
            "no.npz does not exist",
        ),
        (["--candidates", "main", "main"], "--candidates must be one or more that dif"),
        (["--seeds", "0", "0"], "--seeds must be one or more that differ, got 0 0"),
        (["--seeds", "-1"], "--seeds must be at least 0 each, got -1"),
        (["--shots", "0"], "--shots must be at least 1, got 0"),
        (["--leather-dir", "nowhere"], "--leather-dir nowhere does not exist"),
        (["--tiles-dir", "nowhere"], "--tiles-dir nowhere does not exist"),
        (["--categories", "gaer"], "--categories must be some of"),
        (["--resume", "nothing"], "nothing holds no run"),
        (["--write-baseline", "--categories", "gear"], "needs every category"),
        (["--write-baseline"], "needs every data set; leather is left out"),
        (["--", "--seed", "3"], "--seed behind -- is the evaluation's own to choose"),
        (["--", "--cache-dir", "x"], "--cache-dir behind -- is the evaluation's own"),
        (["--", "--dataset", "visa"], "--dataset behind -- is the evaluation's own"),
        (["--", "--train.epoch", "3"], "--train.epoch"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(capsys, tmp_path, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        accuracy.main(arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


def test_a_folder_without_the_category_is_told_by_its_flag(capsys, parts):
    with pytest.raises(SystemExit):
        accuracy.main(["--tiles-dir", str(parts)])
    said = capsys.readouterr().err
    assert f"--tiles-dir {parts} must be or hold a folder magnetic_tile" in said


def test_data_sets_that_are_not_at_hand_are_left_out_with_a_line(real, tmp_path):
    found, skipped = find_sets(None, real, cache_dir=tmp_path)
    assert [each.name for each in found] == ["rendered_ad", "magnetic_tile"]
    assert skipped == ["leather is left out: --leather-dir names no folder"]
    of_itself, _ = find_sets(real / "leather", None, cache_dir=tmp_path)
    assert of_itself[1].categories == ("leather",)


def test_the_sample_is_the_same_each_time_and_pairs_its_masks(real, tmp_path):
    root = real / "magnetic_tile"
    drawn = [
        {
            str(path.relative_to(folder))
            for path in folder.rglob("*.png")
            if "train" not in path.parts
        }
        for folder in (
            sampled(root, count=4, cache_dir=tmp_path / "a"),
            sampled(root, count=4, cache_dir=tmp_path / "b"),
        )
    ]
    assert drawn[0] == drawn[1]
    images = [name for name in drawn[0] if "/test/" in name]
    defects = {Path(name).stem for name in images if "/hole/" in name}
    masks = {Path(name).stem for name in drawn[0] if "/ground_truth/" in name}
    assert len(images) == 4
    assert masks == {f"{stem}_mask" for stem in defects}
    everything = sampled(root, count=100, cache_dir=tmp_path / "c")
    assert len(list(everything.rglob("test/*/*.png"))) == 6


def test_draem_has_the_main_jobs_steps_and_none_of_its_inventions():
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


def test_a_pretrained_encoder_reaches_the_main_job_and_not_draem(weights):
    job = main_job(["--preset", "cpu", "--encoder", f"pretrained:{weights}"])
    assert job.model.memory_bank is not None
    assert job.model.memory_bank.backbone is not None
    draem = as_draem(job)
    assert draem.encoder == "scratch"
    assert draem.model.memory_bank is None


def test_flags_behind_the_dashes_reach_the_main_job():
    settings = accuracy.read_settings(["--seeds", "5", "--", *TINY])
    assert settings.seeds == (5,)
    job = main_job(settings.flags)
    assert job.model.image_px == 32
    assert job.preset == "cpu"


@pytest.fixture
def only_real(monkeypatch):
    """Leaves the rendered data set out, which takes a minute."""

    def without_rendered(*arguments, **options):
        found, skipped = find_sets(*arguments, **options)
        return found[1:], skipped

    monkeypatch.setattr(accuracy, "find_sets", without_rendered)


def test_an_evaluation_ends_with_tables_goes_on_and_becomes_a_baseline(
    capsys, real, tmp_path, weights, monkeypatch, only_real
):
    baseline, out = tmp_path / "baseline.json", tmp_path / "out"
    arguments = [
        *("--candidates", "patchcore", "patchcore_unit", "--features", weights),
        *("--leather-dir", str(real), "--tiles-dir", str(real), "--seeds", "0", "1"),
        *("--out", str(out), "--baseline", str(baseline)),
    ]
    whole = patchcore.run_category

    def stop_at_the_tiles(settings, encoder, view, category, *rest, **options):
        if category == "magnetic_tile":
            raise KeyboardInterrupt
        return whole(settings, encoder, view, category, *rest, **options)

    monkeypatch.setattr(patchcore, "run_category", stop_at_the_tiles)
    with pytest.raises(SystemExit) as stopped:
        accuracy.main(arguments)
    assert stopped.value.code == 130
    assert f"--resume {out}" in capsys.readouterr().err
    monkeypatch.setattr(patchcore, "run_category", whole)
    resumed = ["--resume", str(out), "--baseline", str(baseline)]
    accuracy.main(resumed)
    said = capsys.readouterr().out
    assert "patchcore: 2-shot, PatchCore, encoder squeezenet1_1" in said
    assert "magnetic_tile, hole" in said
    assert "the baseline has no such candidate" in said
    monkeypatch.setattr(patchcore, "run_category", _not_again)
    accuracy.main([*resumed, "--write-baseline"])
    assert set(read_baseline(baseline)) == {"patchcore", "patchcore_unit"}
    capsys.readouterr()
    accuracy.main(resumed)
    said = capsys.readouterr().out
    assert "+0.000" in said
    assert "baseline of patchcore: seeds 0, 1" in said


def test_draem_is_trained_and_measured_as_the_main_job_is_and_two_runs_at_once(
    capsys, real, tmp_path, only_real
):
    accuracy.main(
        [
            *("--candidates", "draem", "--leather-dir", str(real), "--seeds", "1", "0"),
            *("--out", str(tmp_path / "out"), "--baseline", str(tmp_path / "none")),
            *("--", *TINY, "--at-once", "2"),
        ]
    )
    said, told = capsys.readouterr()
    assert "draem: 2-shot, preset cpu, encoder from scratch, quantizer none" in said
    assert "finished, 1 of 2 categories left" in told
    for seed in (0, 1):
        assert f"leather-seed{seed} leather: finished" in told
        run = tmp_path / "out" / "draem" / f"leather-seed{seed}"
        assert [line["seed"] for line in RunFolder(run).results()] == [seed]
        assert (run / "report.html").is_file()
        assert (run / "leather" / "detector" / "weights.safetensors").is_file()


def test_a_run_that_is_not_begun_when_it_is_stopped_takes_the_commit_it_is_begun_at(
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


def _not_again(*_arguments, **_options):
    raise AssertionError("a finished run was run again")


def test_a_run_that_was_started_with_other_settings_is_not_mixed_in(
    capsys, real, tmp_path, weights
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
    content["config"]["image_px"] = 64
    path.write_text(json.dumps(content))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        accuracy.main(["--resume", str(out), "--baseline", str(tmp_path / "none.json")])
    assert stopped.value.code == 2
    assert "was started with other settings" in capsys.readouterr().err
