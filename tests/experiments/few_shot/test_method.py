"""`--method knn` and `--method subspace`: runs without training, and their flags."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import lfq_jax
from experiments.few_shot.__main__ import main
from experiments.few_shot.method_flags import refuse_unused
from experiments.few_shot.settings import FewShot, read_settings
from experiments.predict.__main__ import main as predict
from lfq_jax.config import TRAINING_FREE_SCORE, KnnConfig, SubspaceConfig
from tests.tiny_run import elsewhere, parts, refusal, shots_of, without_times

__all__ = ["elsewhere", "parts"]  # fixtures

SMALL = (
    *("--model.image-px", "32", "--model.memory-bank.levels", "2", "--pictures", "3"),
    *("--knn.rotations", "2", "--backbone", "none"),
)


def settings_of(*argv: str) -> FewShot:
    return read_settings(argv, has_accelerator=lambda: False)


def test_a_run_trains_nothing_and_gives_the_same_results_again(
    capsys, parts, tmp_path, monkeypatch
):
    def no_anomalies(*_, **__):
        raise AssertionError("a training-free method needs no synthetic anomalies")

    monkeypatch.setattr(
        "experiments.run.anomaly_process.shards_for_shots", no_anomalies
    )
    data = ("--dataset", "folder", "--data-dir", str(parts), "--categories", "plate")
    for name in ("one", "two"):
        out = ("--out", str(tmp_path / name))
        main([*data, "--method", "knn", *SMALL, *out])
    said = capsys.readouterr().out
    assert "method knn, preset best, backbone none, image score top_k_mean" in said
    assert "quantizer" not in said
    (line,) = without_times(tmp_path / "one")
    assert [line] == without_times(tmp_path / "two")
    assert line["method"] == "knn"
    assert not {"quantizer", "best_step", "validation"} & set(line)
    assert line["metrics"]["image_auroc"] > 0.9
    assert list(line["thresholds"]) == ["false_alarm_rate"]
    folder = tmp_path / "one" / "plate"
    assert (folder / "contact_sheet.png").is_file()
    for absent in ("metrics.jsonl", "training_curves.png", "codes.png", "images.png"):
        assert not (folder / absent).exists()
    with Image.open(next(folder.glob("pictures/*.png"))) as row:
        assert row.width < 4 * row.height, "there is no panel of a reconstruction"
    page = (tmp_path / "one" / "report.html").read_text()
    assert re.search(r'"method": ?"knn"', page)
    one, two = (
        (tmp_path / name / "plate" / "detector" / "weights.safetensors").read_bytes()
        for name in ("one", "two")
    )
    assert one == two
    _decides(tmp_path / "one", parts, tmp_path)
    _resumes_with_its_method(capsys, tmp_path / "one")


def _decides(run, parts, tmp_path):
    """`predict` decides as the detector does."""
    photographs = parts / "plate" / "test" / "hole"
    predict(
        ["--run", str(run), "--images", str(photographs), "--out", str(tmp_path / "p")]
    )
    rows = json.loads((tmp_path / "p" / "scores.json").read_text())["images"]
    detector = lfq_jax.load(run)
    for row in rows:
        with Image.open(photographs / row["file"]) as image:
            expected = detector(np.asarray(image))
        assert row["score"] == pytest.approx(expected.score, abs=1e-6)
        assert (row["decision"] == "anomalous") == expected.is_anomalous


def _resumes_with_its_method(capsys, run):
    main(["--resume", str(run)])
    assert "method knn" in capsys.readouterr().out
    said = refusal(capsys, "--resume", str(run), "--method", "subspace")
    assert "--method was knn, got subspace" in said


def test_the_method_decides_the_default_score():
    assert settings_of("--method", "subspace").score == TRAINING_FREE_SCORE
    assert settings_of().score == settings_of("--method", "lfquiad").score
    assert settings_of().score != TRAINING_FREE_SCORE
    given = settings_of("--method=knn", "--score.image-score", "max").score
    assert given.image_score == "max"
    assert given.smoothing_sigma == TRAINING_FREE_SCORE.smoothing_sigma


def test_the_detector_has_the_image_size_and_the_comparison_of_the_settings():
    settings = settings_of("--method", "knn", "--knn.rotations", "4")
    config = settings.for_shots(shots_of("object", (300, 300))).training_free
    assert config is not None
    assert config.comparison == KnnConfig(rotations=4)
    assert config.image_px == 256
    texture = settings.for_shots(shots_of("texture", (300, 300))).training_free
    assert texture is not None and texture.image_px == 288
    other = settings_of("--method", "subspace").training_free
    assert other is not None and other.comparison == SubspaceConfig()
    assert settings_of().training_free is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "padim"], "padim"),
        (["--method", "knn", "--preset", "paper"], "--preset paper does not"),
        (
            ["--method", "knn", "--train.epochs", "3"],
            "--train.epochs has no effect wit",
        ),
        (["--method", "knn", "--agm.beta", "0"], "--agm.beta"),
        (
            ["--method", "subspace", "--anomalies=9"],
            "--anomalies has no effect with --me",
        ),
        (
            ["--method", "subspace", "--knn.rotations", "2"],
            "--knn.rotations has no effec",
        ),
        (
            ["--subspace.variance", "0.9"],
            "no effect with --method lfquiad: leave it out",
        ),
        (
            ["--method", "subspace", "--subspace.variance", "1"],
            "must be in (0, 1), got 1",
        ),
        (
            ["--backbone", "none", "--model.memory_bank.rotations=4"],
            "--model.memory-bank.rotations has no effect with --backbone none: leave",
        ),
        (
            ["--preset", "cpu", "--model.memory-bank.deepest-weight", "1"],
            "deepest-weight has no effect with --backbone none",
        ),
        (
            ["--backbone", "none", "--model.memory-bank.residuals", "subspace"],
            "--model.memory-bank.residuals has no effect with --backbone none",
        ),
        (
            ["--model.memory-bank.residuals", "pca"],
            "pca",
        ),
        (
            ["--reconstruction.rotations", "9"],
            "--reconstruction.rotations has no effect with --method lfquiad",
        ),
        (
            ["--method", "reconstruction", "--reconstruction.autoencoder.context", "2"],
            "context must be odd, got 2",
        ),
        (
            ["--method", "knn", "--knn.coreset", "0"],
            "knn.coreset must be in (0, 1], go",
        ),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(capsys, tmp_path, arguments, said):
    message = refusal(capsys, *arguments)
    assert said in message
    assert not (tmp_path / "runs").exists()


def test_flags_that_a_method_uses_are_accepted():
    used = ["--model.image-px", "64", "--train.augment.noise", "0", "--seed", "1"]
    used += ["--model.fit", "square", "--model.size_px", "64", "48"]
    refuse_unused("knn", [*used, "--knn.patches", "9", "--model.memory_bank.levels=2"])
    refuse_unused("subspace", [*used, "--subspace.rotations", "9"])
    refuse_unused("reconstruction", [*used, "--reconstruction.autoencoder.steps=9"])
    refuse_unused("lfquiad", ["--train.epochs", "9", "--anomalies", "3"])
