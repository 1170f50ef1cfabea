"""A detector's folder of another schema version is refused by its version alone."""

import json

import numpy as np
import pytest
import safetensors.numpy

import lfq_jax
from lfq_jax.config import ModelConfig
from lfq_jax.inference.detector_files import (
    CONFIG,
    SCHEMA_VERSION,
    WEIGHTS,
    read_detector,
)
from lfq_jax.inference.predictor import Predictor
from tests.tiny_detector import write_run

SCHEMA_7 = {
    "schema_version": 7,
    "category": "plate",
    "kind": "object",
    "shots": 2,
    "seed": 0,
    "photograph_px": [32, 32],
    "bit_depth": 8,
    "model": {
        "image_px": 32,
        "stem": 4,
        "reference": {"levels": 2, "encoder": None, "reader_share": 0.8},
    },
    "score": {"image_score": "smoothed_max"},
    "appearance": {"mean": [0.5, 0.5, 0.5], "deviation": 0.1},
}


def _refusal(folder) -> str:
    with pytest.raises(ValueError) as caught:
        read_detector(folder)
    return str(caught.value)


def _write_config(folder, content: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(content))


def test_schema_7_with_its_old_keys_is_refused_by_its_version(tmp_path):
    _write_config(tmp_path, SCHEMA_7)
    assert _refusal(tmp_path) == (
        f"{tmp_path / CONFIG} has schema version 7, and this version of the project "
        f"reads {SCHEMA_VERSION}: train the run again, or use a version of the "
        "project that reads 7"
    )


def test_a_run_whose_detector_has_schema_7_is_refused_by_its_version(tmp_path):
    (tmp_path / CONFIG).write_text('{"config": {}, "provenance": {}}\n')
    _write_config(tmp_path / "plate" / "detector", SCHEMA_7)
    with pytest.raises(ValueError, match=r"has schema version 7, .*: train the run"):
        lfq_jax.load(tmp_path)


def test_old_keys_under_the_current_version_are_refused_by_their_name(tmp_path):
    _write_config(tmp_path, SCHEMA_7 | {"schema_version": SCHEMA_VERSION})
    refusal = _refusal(tmp_path)
    assert "another version of this project" in refusal
    assert "ModelConfig has no field reference" in refusal
    assert refusal.endswith("train the run again")
    assert "\n" not in refusal


def test_detectors_of_schema_9_see_squares(tmp_path):
    folder = write_run(tmp_path / "run", "plate") / "plate" / "detector"
    content = json.loads((folder / CONFIG).read_text()) | {"schema_version": 9}
    for name in ("fit", "size_px"):
        del content["model"][name]
    for name in ("levels_beside_backbone", "rotations"):
        del content["model"]["memory_bank"][name]
    _write_config(folder, content)
    predictor = Predictor(read_detector(folder))
    assert predictor.size == (32, 32)
    assert predictor.framing.frame((10, 900)).is_whole


def test_detectors_of_schema_10_are_read_unless_they_have_a_backbone(tmp_path):
    folder = write_run(tmp_path / "run", "plate") / "plate" / "detector"
    content = json.loads((folder / CONFIG).read_text()) | {"schema_version": 10}
    bank = content["model"]["memory_bank"]
    bank["filters_beside_backbone"] = True
    for name in ("levels_beside_backbone", "rotations"):
        del bank[name]
    _write_config(folder, content)
    assert Predictor(read_detector(folder)).size == (32, 32)
    bank["backbone"] = {"path": "w.npz", "network": "{}", "stages": ["fire5"]}
    _write_config(folder, content)
    refusal = _refusal(folder)
    assert "searches the features of its backbone in another way" in refusal
    assert refusal.endswith("train the run again") and "\n" not in refusal


def test_detectors_of_schema_12_do_not_compare_the_deepest_stage(tmp_path):
    folder = write_run(tmp_path / "run", "plate") / "plate" / "detector"
    content = json.loads((folder / CONFIG).read_text()) | {"schema_version": 12}
    del content["model"]["memory_bank"]["deepest_weight"]
    _write_config(folder, content)
    model = read_detector(folder).model
    assert isinstance(model, ModelConfig) and model.memory_bank is not None
    assert model.memory_bank.deepest_weight == 0


def test_the_image_score_of_detectors_of_schema_13_has_no_head_of_its_own(tmp_path):
    folder = write_run(tmp_path / "run", "plate") / "plate" / "detector"
    content = json.loads((folder / CONFIG).read_text()) | {"schema_version": 13}
    del content["model"]["memory_bank"]["coarse_score_weight"]
    _write_config(folder, content)
    record = read_detector(folder)
    assert isinstance(record.model, ModelConfig)
    assert record.model.memory_bank is not None
    assert record.model.memory_bank.coarse_score_weight == 0
    assert record.variables.score_head is None


def test_detectors_of_schema_14_have_no_residuals(tmp_path):
    folder = write_run(tmp_path / "run", "plate") / "plate" / "detector"
    content = json.loads((folder / CONFIG).read_text()) | {"schema_version": 14}
    for name in ("residuals", "autoencoder"):
        del content["model"]["memory_bank"][name]
    _write_config(folder, content)
    record = read_detector(folder)
    assert isinstance(record.model, ModelConfig)
    assert record.model.memory_bank is not None
    assert record.model.memory_bank.residuals == ()
    assert record.variables.memory_bank.residuals is None


def test_heads_of_schema_11_subtract_half_of_all_log_odds_in_the_surround(tmp_path):
    folder = write_run(tmp_path / "run", "plate") / "plate" / "detector"
    head = read_detector(folder).variables.logistic_head
    content = json.loads((folder / CONFIG).read_text()) | {"schema_version": 11}
    _write_config(folder, content)
    arrays = safetensors.numpy.load_file(folder / WEIGHTS)
    del arrays["logistic_head/surround_weights"]
    safetensors.numpy.save_file(arrays, folder / WEIGHTS)
    read = read_detector(folder).variables.logistic_head
    np.testing.assert_array_equal(read.surround_weights, 0.5 * head.weights)
    np.testing.assert_array_equal(read.weights, head.weights)
