"""What a run refuses before it prepares anything."""

import pytest

from experiments.few_shot.checks import tell_of_one_shot
from experiments.few_shot.settings import read_settings
from tests.tiny_run import TINY, elsewhere, parts, refusal, shots_of

__all__ = ["elsewhere", "parts"]  # fixtures


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
    ],
)
def test_what_cannot_run_at_once_is_refused_before_a_run_exists(
    capsys, tmp_path, arguments, said
):
    assert said in refusal(capsys, "--categories", "woven_cloth", *arguments)
    assert not (tmp_path / "runs").exists()


def test_more_trainings_at_once_than_fit_in_memory_are_refused_before_a_run_exists(
    capsys, parts, tmp_path
):
    # test_runner.py trains with these settings, so memory is planned once for both.
    where = ("--dataset", "folder", "--data-dir", str(parts), *TINY)
    said = refusal(capsys, *where, "--at-once", "100000")
    assert "at_once 100000 needs about" in said
    assert not (tmp_path / "runs").exists()


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
def test_devices_hosts_and_caches_that_do_not_exist_are_refused_before_a_run_exists(
    capsys, tmp_path, arguments, said
):
    assert said in refusal(capsys, "--categories", "gear", *arguments)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache" / "datasets").exists(), "it was prepared in vain"


@pytest.mark.parametrize(
    ("arguments", "kind", "is_told"),
    [
        (["--shots", "1"], "object", True),
        (["--shots", "1"], "texture", False),
        (["--shots", "2"], "object", False),
        (["--shots", "1", "--method", "knn"], "object", False),
        (["--shots", "1", "--preset", "paper"], "object", False),
    ],
)
def test_a_run_with_one_object_says_that_its_decisions_cannot_be_trusted(
    capsys, arguments, kind, is_told
):
    settings = read_settings(arguments, has_accelerator=lambda: False)
    tell_of_one_shot(settings, {"plate": shots_of(kind, (32, 32))})
    said = capsys.readouterr()
    assert ("--shots 1: one photograph of an" in said.out + said.err) == is_told
