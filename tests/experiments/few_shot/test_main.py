"""The main job's command line: what a mistake prints, in flags and in data."""

from pathlib import Path

import numpy as np
import pytest

import datasets
from tests.tiny_run import elsewhere, parts, refusal, write_image

__all__ = ["elsewhere", "parts"]  # fixtures

PROJECT = Path(__file__).resolve().parents[3]


def test_the_datasets_package_is_this_projects_own():
    assert Path(datasets.__file__).resolve().parent.parent == PROJECT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "render_ad"], "rendered_ad"),
        (["--categories", "capsul"], "did you mean capsule"),
        (["--preset", "cpuu"], "cpu"),
        (["--backbone", "resnet"], "--backbone must be one of efficientnet_lite0, "),
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
    assert not (tmp_path / "runs").exists()


def test_an_empty_folder_and_a_folder_without_good_parts_have_different_messages(
    capsys, tmp_path
):
    (tmp_path / "empty").mkdir()
    assert "is empty" in refusal(
        capsys, "--dataset", "folder", "--data-dir", str(tmp_path / "empty")
    )
    (tmp_path / "bare" / "screw" / "test").mkdir(parents=True)
    assert "train/good" in refusal(
        capsys, "--dataset", "folder", "--data-dir", str(tmp_path / "bare")
    )


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
