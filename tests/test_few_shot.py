"""The main job's command line: what a mistake gets, and one tiny run to its end."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import datasets
from experiments import few_shot
from experiments.few_shot import FewShot
from experiments.hosts import HostsConfig
from experiments.run import RunFolder
from lfq_jax.config import as_json

PROJECT = Path(__file__).resolve().parent.parent
TINY = (
    *("--model.image-px", "32", "--model.reconstructive-widths", "6", "8"),
    *("--model.discriminative-widths", "6", "8", "--model.memory_bank.levels", "2"),
    *("--model.memory_bank.patches", "64", "--train.crop-px", "16"),
    *("--train.epochs", "1", "--train.epoch-images", "8", "--train.log-every", "2"),
    *("--train.batch-size", "4", "--train.good-images", "4", "--pictures", "3"),
    *("--anomalies", "6", "--validation-anomalies", "2", "--preset", "cpu"),
)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two categories of grey parts in MVTec layout; one test defect with its mask."""
    rng = np.random.default_rng(0)
    for category in ("plate", "ring"):
        root = tmp_path / "parts" / category
        for i in range(3):
            pixels = rng.integers(100, 140, (40, 48, 3)).astype(np.uint8)
            write_image(root / "train" / "good" / f"{i}.png", pixels)
            write_image(root / "test" / "good" / f"{i}.png", pixels[::-1])
            mask = np.zeros((40, 48), np.uint8)
            mask[10:20, 12 + i : 22 + i] = 255
            pixels[mask > 0] = (220, 40, 40)
            write_image(root / "test" / "hole" / f"{i}.png", pixels)
            write_image(root / "ground_truth" / "hole" / f"{i}_mask.png", mask)
    return tmp_path / "parts"


def refusal(capsys, *arguments: str) -> str:
    """What a mistake prints; the exit status must be 2 and nothing be left behind."""
    with pytest.raises(SystemExit) as stopped:
        few_shot.main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs and caches go to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def made_anomalies(tmp_path_factory) -> Path:
    """A cache of anomalies: every training of `parts` needs the same ones."""
    return tmp_path_factory.mktemp("anomalies")


@pytest.fixture
def anomalies_made_once(elsewhere, tmp_path, made_anomalies) -> None:
    """Anomalies are read from the cache that an earlier test filled."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "anomalies").symlink_to(made_anomalies)


class Counted(Sequence[Any]):
    """Examples that note the number of each that is read."""

    def __init__(self, examples: Sequence[Any], read: Counter[int]) -> None:
        self.examples = examples
        self.read = read

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: Any) -> Any:
        example = self.examples[i]
        self.read[i] += 1
        return example


@pytest.fixture
def read(monkeypatch) -> Counter[int]:
    """How often each test image is read, and with that decoded."""
    counter, load = Counter(), datasets.load
    monkeypatch.setattr(
        datasets,
        "load",
        lambda *names, **where: Counted(load(*names, **where), counter),
    )
    return counter


def test_the_datasets_package_is_this_projects_own():
    assert Path(datasets.__file__).resolve().parent.parent == PROJECT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "render_ad"], "rendered_ad"),
        (["--categories", "capsul"], "did you mean capsule"),
        (["--preset", "cpuu"], "cpu"),
        (["--encoder", "xpretrained:net.npz"], "--encoder must be scratch, or pretrai"),
        (["--texture-px", "-1"], "--texture-px must be at least 0, got -1"),
        (["--shot", "2"], "--shots"),
        (["--shots", "0"], "shots must be at least 1, got 0"),
        (["--shots", "-1"], "shots must be at least 1, got -1"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--train.epochs", "0"], "epochs must be at least 1, got 0"),
        (["--anomalies", "0"], "anomalies must be at least 1, got 0"),
        (["--dataset", "folder"], "needs --data-dir"),
        (["--dataset", "folder", "--data-dir", "nowhere"], "nowhere does not exist"),
        (["--resume", "nothing"], "nothing holds no run"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(capsys, tmp_path, arguments, said):
    message = refusal(capsys, *arguments)
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


def test_an_empty_folder_and_one_without_good_parts_are_told_apart(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is empty" in refusal(
        capsys, "--dataset", "folder", "--data-dir", str(tmp_path / "empty")
    )
    (tmp_path / "bare" / "screw" / "test").mkdir(parents=True)
    assert "train/good" in refusal(
        capsys, "--dataset", "folder", "--data-dir", str(tmp_path / "bare")
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model.image-px", "64"], "at most the side of the images, 64, got 96"),
        (["--train.crop-px", "100"], "train.crop_px must be a multiple of"),
        (["--model.quantizer.bits", "44"], "takes 196,608.0 GiB"),
    ],
)
def test_networks_that_do_not_fit_are_refused_before_anomalies_are_made(
    capsys, parts, tmp_path, arguments, said
):
    where = ("--dataset", "folder", "--data-dir", str(parts))
    assert said in refusal(capsys, *where, *arguments)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache" / "anomalies").exists()


def test_more_shots_than_images_are_refused_before_anything_is_trained(capsys, parts):
    message = refusal(
        capsys, "--dataset", "folder", "--data-dir", str(parts), "--shots", "4"
    )
    assert "--shots must be in [1, 3]" in message


def test_a_truncated_image_is_named(capsys, parts):
    victim = parts / "plate" / "train" / "good" / "1.png"
    victim.write_bytes(victim.read_bytes()[:200])
    message = refusal(capsys, "--dataset", "folder", "--data-dir", str(parts))
    assert str(victim) in message


def test_an_image_of_zero_size_is_named(capsys, parts):
    victim = parts / "plate" / "train" / "good" / "1.png"
    victim.write_bytes(b"")
    message = refusal(capsys, "--dataset", "folder", "--data-dir", str(parts))
    assert str(victim) in message


def test_a_mask_of_another_size_is_named(capsys, parts):
    victim = parts / "plate" / "ground_truth" / "hole" / "1_mask.png"
    write_image(victim, np.full((8, 8), 255, np.uint8))
    message = refusal(capsys, "--dataset", "folder", "--data-dir", str(parts))
    assert str(victim) in message
    assert "48x40" in message


def test_a_mask_that_belongs_to_no_image_is_named(capsys, parts):
    write_image(
        parts / "plate" / "ground_truth" / "hole" / "9_mask.png",
        np.zeros((40, 48), np.uint8),
    )
    message = refusal(capsys, "--dataset", "folder", "--data-dir", str(parts))
    assert "9_mask.png" in message


def test_a_folder_that_holds_a_run_is_not_written_to(capsys, parts, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "results.jsonl").write_text("{}\n")
    message = refusal(
        capsys,
        *("--dataset", "folder", "--data-dir", str(parts), "--out", str(taken)),
    )
    assert "already holds something" in message
    assert (taken / "results.jsonl").read_text() == "{}\n"


@pytest.mark.usefixtures("anomalies_made_once")
def test_a_run_ends_with_table_pictures_and_report_and_is_the_same_at_once(
    capsys, parts, tmp_path
):
    tables = []
    for name, at_once in (("one", "1"), ("two", "2")):
        few_shot.main(
            [
                *("--dataset", "folder", "--data-dir", str(parts), *TINY),
                *("--out", str(tmp_path / name), "--at-once", at_once),
            ]
        )
        said = capsys.readouterr().out.replace(str(tmp_path / name), "")
        tables.append(re.sub(r"\d+:\d\d", "time", said))
    assert tables[0] == tables[1]
    assert "plate" in tables[0]
    assert "mean" in tables[0]
    run = tmp_path / "one"
    for written in ("config.json", "results.jsonl", "report.html"):
        assert (run / written).is_file()
    for category in ("plate", "ring"):
        assert (run / category / "training_curves.png").is_file()
        assert (run / category / "codes.png").is_file()
        assert (run / category / "images.png").is_file()
        assert list((run / category / "pictures").iterdir())
    lines = [_without_times(tmp_path / name) for name in ("one", "two")]
    assert lines[0] == lines[1]
    for same in ("metrics.jsonl", "predictions.jsonl", "codes.png"):
        for category in ("plate", "ring"):
            one, two = (tmp_path / name / category / same for name in ("one", "two"))
            assert one.read_bytes() == two.read_bytes()
    assert [line["category"] for line in lines[0]] == ["plate", "ring"]
    assert lines[0][0]["preset"] == "cpu"


@pytest.mark.usefixtures("anomalies_made_once")
def test_a_test_image_is_read_to_score_it_to_draw_it_and_to_count_its_codes(
    parts, tmp_path, read
):
    flags = ("--dataset", "folder", "--data-dir", str(parts), "--categories", "plate")
    few_shot.main([*flags, *TINY, "--pictures", "2", "--out", str(tmp_path / "run")])
    drawn = len(list((tmp_path / "run" / "plate" / "pictures").iterdir()))
    assert drawn == 2
    assert sorted(read.values()) == [2] * 4 + [3] * drawn


def _without_times(run: Path) -> list[dict]:
    lines = (run / "results.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]


@pytest.mark.usefixtures("anomalies_made_once")
def test_a_stopped_run_goes_on_where_it_was(capsys, parts, tmp_path, monkeypatch):
    out = tmp_path / "cut"
    arguments = ["--dataset", "folder", "--data-dir", str(parts), *TINY]
    real = few_shot.run_category

    def stop_at_ring(settings, category, *rest, **options):
        if category == "ring":
            raise KeyboardInterrupt
        return real(settings, category, *rest, **options)

    monkeypatch.setattr(few_shot, "run_category", stop_at_ring)
    with pytest.raises(SystemExit) as stopped:
        few_shot.main([*arguments, "--out", str(out)])
    assert stopped.value.code == 130
    assert f"--resume {out}" in capsys.readouterr().err
    monkeypatch.setattr(few_shot, "run_category", real)
    few_shot.main(["--resume", str(out)])
    assert [x["category"] for x in _without_times(out)] == ["plate", "ring"]


def test_a_run_goes_on_with_its_own_data_alone(capsys, parts, tmp_path, monkeypatch):
    trained_on = []

    def stop(data, held_out, *, inputs, **options):
        trained_on.append(inputs)
        raise KeyboardInterrupt

    monkeypatch.setattr("lfq_jax.training.loop.train", stop)
    run = tmp_path / "run"

    def stopped(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            few_shot.main(list(arguments))
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


@pytest.mark.usefixtures("anomalies_made_once")
def test_an_error_of_one_category_at_once_keeps_the_other_and_can_be_gone_on_with(
    capsys, parts, tmp_path
):
    out, leak = tmp_path / "half", parts / "plate" / "test" / "good" / "leak.png"
    leak.write_bytes((parts / "plate" / "train" / "good" / "0.png").read_bytes())
    arguments = ("--dataset", "folder", "--data-dir", str(parts), *TINY)
    refuse = ("--on-leak", "refuse", "--at-once", "2", "--out", str(out))
    said = refusal(capsys, *arguments, *refuse)
    assert "error: 1 test images were trained with: good/leak" in said.splitlines()[-1]
    assert [x["category"] for x in _without_times(out)] == ["ring"]
    leak.unlink()
    few_shot.main(["--resume", str(out), "--at-once", "2"])
    assert [x["category"] for x in _without_times(out)] == ["plate", "ring"]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_all_that_run_at_once_and_leaves_what_resume_goes_on_with(
    parts, tmp_path, times
):
    out = tmp_path / "stopped"
    long = [*TINY, "--train.epochs", "4000"]
    arguments = ["--dataset", "folder", "--data-dir", str(parts), *long]
    with (tmp_path / "said").open("w+") as said:
        flags = [*arguments, "--at-once", "2", "--out", str(out)]
        command = [sys.executable, "-m", "experiments.few_shot", *flags]
        running = subprocess.Popen(command, stderr=said)
        logs = [out / category / "metrics.jsonl" for category in ("plate", "ring")]
        while not all(log.exists() and log.stat().st_size for log in logs):
            assert running.poll() is None
            time.sleep(0.1)
        for _ in range(times):
            running.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert running.wait(60) == 130
        said.seek(0)
        text = said.read()
    assert "Traceback" not in text
    assert f"--resume {out} --at-once 2" in text.splitlines()[-1]
    kept = [log.parent / "checkpoints" for log in logs]
    if times == 1:
        assert all(any(folder.iterdir()) for folder in kept)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at-once", "0"], "--at-once must be at least 1, got 0"),
        (["--at-once", "-2"], "--at-once must be at least 1, got -2"),
        (["--at-once", "2", "--devices", "0"], "must be 1 with --devices 0, got 2"),
        (["--at-once", "2", "--profile"], "must be 1 with --profile, got 2"),
        (
            ["--at-once", "2", "--hosts.count", "2", "--hosts.coordinator", "first:1"],
            "must be 1 with --hosts.count 2, got 2",
        ),
        (["--at-once", "100000", *TINY], "--at-once 100000 needs about"),
    ],
)
def test_what_cannot_run_at_once_leaves_no_run(capsys, tmp_path, arguments, said):
    assert said in refusal(capsys, "--categories", "gear", *arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("anomalies_made_once")
def test_without_test_images_it_trains_and_says_that_nothing_is_measured(
    capsys, parts, tmp_path
):
    for path in sorted(parts.rglob("*"), reverse=True):
        if path.is_file() and "train" not in path.parts:
            path.unlink()
    few_shot.main(
        [
            *("--dataset", "folder", "--data-dir", str(parts), *TINY),
            *("--categories", "plate", "--out", str(tmp_path / "blind")),
        ]
    )
    line = _without_times(tmp_path / "blind")[0]
    assert line["metrics"]["image_auroc"] is None
    assert "image_auroc" in line["not_computed"]
    assert "-" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "9000"], "devices must be in [0,"),
        (["--devices", "-1"], "--devices must be at least 0, got -1"),
        (["--devices", "8", "--train.batch-size", "4"], "1, 2, 4 would do"),
        (["--hosts.count", "0"], "--hosts.count must be at least 1, got 0"),
        (["--hosts.count", "2"], "--hosts.coordinator must be an address with a port"),
        (["--hosts.index", "1"], "--hosts.index must be in [0, 1), got 1"),
        (["--cache-dir", "/dev/null/cache"], "/dev/null/cache"),
    ],
)
def test_devices_hosts_and_caches_that_are_not_there_leave_no_run(
    capsys, tmp_path, arguments, said
):
    assert said in refusal(capsys, "--categories", "gear", *arguments)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache" / "datasets").exists(), "it was prepared in vain"


def test_convolutions_are_in_bfloat16_where_there_is_an_accelerator():
    def read(*argv: str, has_accelerator: bool) -> tuple[str, str]:
        found = few_shot.read_settings(argv, has_accelerator=lambda: has_accelerator)
        return found.preset, found.model.compute_dtype

    assert read(has_accelerator=False) == ("best", "float32")
    assert read(has_accelerator=True) == ("best", "bfloat16")
    assert read("--preset", "paper", has_accelerator=True) == ("paper", "bfloat16")
    twice = ("--preset", "paper", "--preset=cpu")
    assert read(*twice, has_accelerator=False) == ("cpu", "float32")
    explicit = ("--model.compute-dtype", "float32")
    assert read(*explicit, has_accelerator=True) == ("best", "float32")


def test_textures_are_seen_larger_where_the_shots_are():
    def px(kind: str, *sides: int, flags: tuple[str, ...] = ()) -> int:
        settings = few_shot.read_settings(flags, has_accelerator=lambda: False)
        return settings.of_category(kind, sides).model.image_px

    assert px("texture", 1024, 700) == 384
    assert px("texture", 1024, 330) == 320
    assert px("texture", 1024, 130) == px("object", 1024, 1024) == 256
    assert px("texture", 700, flags=("--preset", "cpu")) == 256
    assert px("texture", 700, flags=("--preset", "paper")) == 256
    assert px("texture", 700, flags=("--model.image-px", "128")) == 128
    assert px("texture", 700, flags=("--texture-px", "320")) == 320
    assert px("texture", 700, flags=("--model.image_px=128",)) == 128
    both = ("--model.image-px", "128", "--texture-px", "320")
    assert px("texture", 700, flags=both) == 320
    assert px("texture", 700, flags=("--texture-px", "0")) == 256


def started(folder: Path, **settings: Any) -> RunFolder:
    """A run of the main job in which nothing is finished."""
    config = as_json(few_shot.FewShot(**settings))
    return RunFolder.create(folder, config, "cpu", command="few_shot")


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
def test_what_is_no_run_of_the_main_job_is_not_gone_on_with(
    capsys, tmp_path, content, said
):
    (tmp_path / "config.json").write_text(content)
    assert said in refusal(capsys, "--resume", str(tmp_path))


def test_a_run_of_an_earlier_version_is_not_gone_on_with(capsys, tmp_path):
    run = started(tmp_path / "old")
    kept = json.loads(run.config_path.read_text())
    del kept["config"]["texture_px"]
    run.config_path.write_text(json.dumps(kept))
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
def test_other_settings_than_a_run_was_started_with_are_refused(
    capsys, tmp_path, flags, said
):
    run = started(tmp_path / "run", shots=4, profile=True)
    message = refusal(capsys, "--resume", str(run.path), *flags)
    assert "keeps the settings that a run was started with" in message
    assert said in message


def test_the_machines_settings_can_be_named_anew(tmp_path):
    run = started(tmp_path / "run", agm_workers=4)
    argv = ["--resume", str(run.path), "--cache-dir", str(tmp_path / "c"), "--seed=0"]
    found = few_shot._resumed(few_shot.read_settings(argv), argv)
    assert (found.cache_dir, found.agm_workers) == (tmp_path / "c", 4)
    argv += ["--agm.workers", "1", "--at-once", "2"]
    found = few_shot._resumed(few_shot.read_settings(argv), argv)
    assert (found.agm_workers, found.at_once, found.devices) == (1, 2, 1)


def test_a_run_is_gone_on_with_on_as_many_devices_as_are_named(capsys, tmp_path):
    run = started(tmp_path / "run")
    said = refusal(capsys, "--resume", str(run.path), "--devices", "9000")
    assert "devices must be in [0," in said and "9000" in said


@pytest.mark.usefixtures("anomalies_made_once")
def test_a_texture_is_trained_and_scored_at_its_own_size(capsys, parts, tmp_path):
    where = ("--dataset", "folder", "--data-dir", str(parts), "--kind", "texture")
    flags = (*where, *TINY, "--texture-px", "40", "--categories", "plate")
    few_shot.main([*flags, "--out", str(tmp_path / "run")])
    capsys.readouterr()
    (line,) = _without_times(tmp_path / "run")
    assert line["image_px"] == 40
    detector = tmp_path / "run" / "plate" / "detector"
    assert json.loads((detector / "config.json").read_text())["model"]["image_px"] == 40


def test_a_host_that_is_not_the_first_leaves_nothing_and_gives_no_command():
    code = (
        "from experiments.hosts import throwaway; run = throwaway(None);"
        "(run.path / 'plate').mkdir(); print(run.path)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    folder = Path(done.stdout.decode().strip())
    assert folder.name.startswith("lfquiad-host-") and not folder.exists()
    for index, said in ((0, f"--resume {folder}"), (1, "the first host says")):
        hosts = HostsConfig("first:9000", count=2, index=index)
        told = few_shot.how_to_go_on(FewShot(hosts=hosts), RunFolder(folder))
        assert said in told and ("--resume" in told) == (index == 0)


def test_a_full_disk_is_told_with_the_file_and_leaves_what_there_was(
    tmp_path, monkeypatch
):
    run = started(tmp_path / "run")
    run.add_result({"category": "plate"})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left .*results\.jsonl"):
        run.add_result({"category": "ring"})
    assert sorted(each.name for each in run.path.iterdir()) == [
        *("config.json", "results.jsonl")
    ]
    assert [line["category"] for line in run.results()] == ["plate"]


def test_a_cache_that_cannot_be_written_to_costs_one_line_and_no_run(
    capsys, monkeypatch
):
    import jax

    from experiments.run import keep_compiled

    changed = []
    monkeypatch.setattr(jax.config, "update", lambda *new: changed.append(new))
    keep_compiled(Path("/dev/null/cache"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "/dev/null/cache/xla cannot be written to" in said
    assert not changed
    keep_compiled(Path("cache"))
    assert ("jax_compilation_cache_dir", "cache/xla") in changed
