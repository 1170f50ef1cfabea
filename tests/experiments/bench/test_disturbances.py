"""The benchmark of disturbed test images: what it changes, and what it reports."""

import json

import numpy as np
import pytest

from experiments.bench.disturbances import Row, Settings, disturbances, main, table
from experiments.few_shot.__main__ import main as few_shot
from tests.refusals import refused
from tests.tiny_run import elsewhere, parts

__all__ = ["elsewhere", "parts"]  # fixtures


def test_each_disturbance_changes_an_image_as_its_name_says():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 200
    found = {
        name: disturb(image, 3)
        for name, disturb in disturbances(Settings(runs=())).items()
    }
    assert list(found) == [
        "none",
        "15% brighter",
        "15% darker",
        "blur of 1 px",
        "noise of 0.02",
    ]
    assert all(each.dtype == np.uint8 for each in found.values())
    np.testing.assert_array_equal(found["none"], image)
    assert found["15% brighter"][0, 7, 0] == 230
    assert found["15% darker"][0, 7, 0] == 170
    blurred = found["blur of 1 px"][0, :, 0]
    assert 0 < blurred[3] < blurred[4] < 200 and blurred[0] < 2
    noise = found["noise of 0.02"][:, 4:].astype(float) - 200
    assert noise.std() == pytest.approx(0.02 * 255, rel=0.2)
    again = disturbances(Settings(runs=()))["noise of 0.02"]
    np.testing.assert_array_equal(again(image, 3), found["noise of 0.02"])
    assert (again(image, 4) != found["noise of 0.02"]).any()


def test_a_run_is_measured_with_every_disturbance(parts, tmp_path, capsys):
    out = tmp_path / "run"
    data = ("--dataset", "folder", "--data-dir", str(parts), "--categories", "plate")
    small = ("--model.image-px", "32", "--model.memory-bank.levels", "2")
    method = ("--method", "knn", "--knn.rotations", "2", "--backbone", "none")
    few_shot([*data, *small, *method, "--pictures", "0", "--out", str(out)])
    capsys.readouterr()
    main(["--runs", str(out), "--noise", "0.3"])
    *lines, last = capsys.readouterr().out.splitlines()
    rows = [Row(**row) for row in json.loads(last)]
    assert len(rows) == 5 and len(lines) == 4
    (result,) = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    undisturbed = rows[0]
    assert undisturbed.disturbance == "none"
    assert undisturbed.image_auroc == result["metrics"]["image_auroc"]
    assert undisturbed.pro == result["metrics"]["pro"]
    predictions = map(
        json.loads, (out / "plate" / "predictions.jsonl").read_text().splitlines()
    )
    called = [
        line["scores"]["top_k_mean"] >= result["threshold"]
        for line in predictions
        if not line["label"]
    ]
    assert undisturbed.false_alarms == pytest.approx(sum(called) / len(called))
    noisy = rows[-1]
    assert noisy.false_alarms > undisturbed.false_alarms


def test_means_leave_out_what_is_not_known():
    rows = [
        Row("mono", 0, "none", 0.9, None, 0.1, 0.5),
        Row("cloth", 0, "none", 0.7, 0.8, 0.3, 1.0),
    ]
    shown = table(rows)
    assert "| mono | 0 | 0.900 / - / 10% / 50% |" in shown
    assert "| **mean** | | 0.800 / 0.800 / 20% / 75% |" in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--runs", "nowhere"], "nowhere holds no run"),
        (["--runs", "x", "--brightness", "0"], "--brightness must be in (0, 1], got 0"),
        (["--runs", "x", "--blur-px", "-1"], "--blur-px must be in (0, 100], got -1"),
    ],
)
def test_a_mistake_prints_one_line(capsys, arguments, expected):
    assert expected in refused(capsys, main, arguments)
