"""One category of a tiny run: images read, image size, no test images."""

import json
from typing import Any

import numpy as np
import pytest

from datasets import Shots
from datasets.example import Example
from experiments.few_shot import category
from experiments.few_shot.__main__ import main
from experiments.few_shot.settings import FewShot
from lfq_jax.training import loop
from tests.dataset_files import elpv_folder
from tests.tiny_run import (
    TINY,
    blank_figures,
    elsewhere,
    parts,
    read,
    shared_anomalies,
    without_times,
)

__all__ = ["blank_figures", "elsewhere", "parts", "read", "shared_anomalies"]
pytestmark = pytest.mark.usefixtures("blank_figures", "shared_anomalies")


def test_a_test_image_is_read_once_each_to_score_to_draw_and_to_count_codes(
    parts, tmp_path, read
):
    flags = ("--dataset", "folder", "--data-dir", str(parts), "--categories", "plate")
    main([*flags, *TINY, "--pictures", "2", "--out", str(tmp_path / "run")])
    drawn = len(list((tmp_path / "run" / "plate" / "pictures").iterdir()))
    assert drawn == 2
    assert sorted(read.values()) == [2] * 4 + [3] * drawn


def test_without_test_images_a_category_trains_and_metrics_are_not_computed(
    capsys, parts, tmp_path
):
    for path in sorted(parts.rglob("*"), reverse=True):
        if path.is_file() and "train" not in path.parts:
            path.unlink()
    main(
        [
            *("--dataset", "folder", "--data-dir", str(parts), *TINY),
            *("--categories", "plate", "--out", str(tmp_path / "blind")),
        ]
    )
    line = without_times(tmp_path / "blind")[0]
    assert line["metrics"]["image_auroc"] is None
    assert "image_auroc" in line["not_computed"]
    assert "-" in capsys.readouterr().out


@pytest.mark.slow
def test_a_texture_is_trained_and_scored_at_its_own_size(capsys, parts, tmp_path):
    where = ("--dataset", "folder", "--data-dir", str(parts), "--kind", "texture")
    flags = (*where, *TINY, "--texture-px", "40", "--categories", "plate")
    main([*flags, "--out", str(tmp_path / "run")])
    capsys.readouterr()
    (line,) = without_times(tmp_path / "run")
    assert line["image_px"] == 40
    detector = tmp_path / "run" / "plate" / "detector"
    assert json.loads((detector / "config.json").read_text())["model"]["image_px"] == 40


def test_shots_of_one_part_count_as_one_for_the_thresholds(tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    mask = np.zeros((40, 40), bool)
    key, sha256s = "good/000", ("0" * 64, "0" * 64)
    example = Example(key, "plate", "object", "good", image, mask, 0, sha256s[0])
    shots = Shots((key, key), sha256s, (example, example))
    configs = []

    def train(data, held_out, config, **_):
        configs.append(config)

    monkeypatch.setattr(loop, "train", train)
    nothing: Any = None
    category._train(
        FewShot(),
        nothing,
        nothing,
        shots=shots,
        inputs={},
        folder=tmp_path,
        should_stop=lambda: False,
    )
    assert configs[0].parts == 1


@pytest.mark.slow
def test_image_labels_alone_are_trained_on_and_leave_pixel_metrics_out(
    capsys, tmp_path
):
    data = elpv_folder(tmp_path / "elpv", "mono", side=40, most=3)
    where = ("--dataset", "elpv", "--data-dir", str(data), "--allow-partial")
    flags = (*where, *TINY, "--categories", "mono", "--out", str(tmp_path / "run"))
    main(list(flags))
    (line,) = without_times(tmp_path / "run")
    assert line["metrics"]["image_auroc"] is not None
    assert line["not_computed"]["pro"] == "no defective test image has a mask"
    assert line["kind"] == "texture"
    assert (tmp_path / "run" / "report.html").is_file()
    assert "not computed" in capsys.readouterr().out
