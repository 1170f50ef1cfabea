"""Fitting a training-free detector: its bits, its thresholds, its files and exports."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

import lfq_jax
from experiments import calibrate, export
from lfq_jax.inference.array_tree import by_path
from lfq_jax.inference.detector_files import read_detector
from tests.refusals import refused
from tests.tiny_detector import part, tiny
from tests.tiny_training_free import (
    METHODS,
    PX,
    fitted,
    fitted_anew,
    record,
    write_run,
)


@pytest.mark.parametrize("method", METHODS)
def test_two_fits_give_the_same_bits_and_another_seed_others(method):
    first, second = fitted(method), fitted_anew(method)
    arrays = [by_path(each.variables) for each in (first, second)]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])
    assert first.thresholds == second.thresholds
    assert fitted_anew(method, seed=1).thresholds != first.thresholds


@pytest.mark.parametrize("method", METHODS)
def test_thresholds_come_from_variations_compared_with_the_other_shots(method):
    trained = fitted(method)
    thresholds = trained.thresholds
    assert thresholds.rule == "false_alarm_rate"
    assert list(thresholds.image) == list(thresholds.pixel) == ["false_alarm_rate"]
    statement = thresholds.image["false_alarm_rate"].statement
    assert statement.startswith("from 24 variations of 2 good parts")
    varied = thresholds.calibration_scores["varied"]["top_k_mean"]
    assert len(varied) == 24
    shots = np.stack([part(0, px=PX), part(1, px=PX)])
    own = np.asarray(trained.scorer(trained.variables, shots).scores["top_k_mean"])
    assert own.max() < min(varied), "a shot is near to a bank that contains it"
    assert thresholds.image_threshold > max(own)


def test_a_single_shot_is_compared_with_its_mirrored_variations():
    trained = fitted_anew("knn", count=1)
    statement = trained.thresholds.image["false_alarm_rate"].statement
    assert "24 variations of 1 good part," in statement
    own = trained.scorer(trained.variables, part(0, px=PX)[None]).scores
    assert trained.thresholds.image_threshold > float(own["top_k_mean"][0])


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_is_read_as_it_was_written(method, tmp_path):
    run = write_run(tmp_path / "run", method)
    read = read_detector(run / "plate" / "detector")
    expected = record(method)
    assert read.method == method
    assert read.model == expected.model
    for ours, theirs in zip(
        jax.tree.leaves(read.variables),
        jax.tree.leaves(expected.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    detector = lfq_jax.load(run)
    good, bad = detector([part(9, px=PX), part(9, px=PX, spot=True)])
    assert bad.is_anomalous and bad.score > good.score
    with pytest.raises(ValueError, match=f"method {method} has no networks"):
        detector.predictor.reconstruct(np.zeros((1, PX, PX, 3), np.uint8))
    assert tiny()[0].method == "lfquiad"


def test_damaged_or_foreign_files_are_refused(tmp_path):
    folder = write_run(tmp_path / "run", "knn") / "plate" / "detector"
    path, weights = folder / "config.json", folder / "weights.safetensors"
    whole = path.read_text()
    for method, said in (("knnn", "must be one of"), ("subspace", "the model is knn")):
        path.write_text(whole.replace('"method": "knn"', f'"method": "{method}"'))
        with pytest.raises(ValueError, match=said):
            read_detector(folder)
    path.write_text(whole)
    arrays = safetensors.numpy.load_file(weights)
    fewer = {name: array for name, array in arrays.items() if name != "patches"}
    for changed, said in (
        (fewer, "patches is missing"),
        (arrays | {"params/x": arrays["patches"]}, "params/x is unknown"),
    ):
        weights.write_bytes(safetensors.numpy.save(changed))
        with pytest.raises(ValueError, match=said):
            read_detector(folder)


@pytest.mark.parametrize(
    ("method", "format"),
    [
        ("knn", "stablehlo"),
        ("subspace", "stablehlo"),
        ("subspace", "safetensors"),
        ("reconstruction", "stablehlo"),
        pytest.param("knn", "onnx", marks=pytest.mark.slow),
        pytest.param("subspace", "onnx", marks=pytest.mark.slow),
        pytest.param("reconstruction", "onnx", marks=pytest.mark.slow),
    ],
)
def test_an_export_decides_as_the_detector_does(method, format, tmp_path, capsys):
    if format == "onnx":
        for name in ("jax2onnx", "onnx", "onnxruntime"):
            pytest.importorskip(name)
    run = write_run(tmp_path / "run", method)
    export.main(["--run", str(run), "--format", format])
    assert "0 differ" in capsys.readouterr().out
    folder = run / "plate" / f"export-{format}"
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["images"] == 3
    assert parity["map_difference"] <= 1e-5
    about = json.loads((folder / "export.json").read_text())
    assert about["image_score"] == "top_k_mean"
    assert ("residual" if method == "subspace" else "cosine") in about["outputs"]["map"]


def test_choosing_a_score_without_synthetic_anomalies_needs_defective_parts(
    tmp_path, capsys, monkeypatch
):
    from PIL import Image

    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))
    run, good = write_run(tmp_path / "run", "subspace"), tmp_path / "good"
    good.mkdir()
    for i in range(3):
        Image.fromarray(part(100 + i, px=PX)).save(good / f"{i}.png")
    arguments = ["--run", str(run), "--good", str(good)]
    message = refused(capsys, calibrate.main, [*arguments, "--image-score", "auto"])
    assert "--image-score auto needs --defective" in message
    calibrate.main(arguments)
    assert "extrapolated from 3 good images" in capsys.readouterr().out
