"""Photographs in their own proportions, from training to predictions and exports."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.shards import open_shards
from experiments import export
from experiments.few_shot.__main__ import main
from experiments.predict import __main__ as predict
from tests.tiny_run import (
    TINY,
    blank_figures,
    elsewhere,
    refusal,
    without_times,
    write_image,
)

__all__ = ["blank_figures", "elsewhere"]  # fixtures

FLAGS = (*TINY, "--model.image-px", "64", "--pictures", "1")
PAPER = (  # compiles in a fraction of the time
    *("--preset", "paper", "--model.image-px", "64", "--pictures", "1"),
    *("--model.reconstructive-widths", "6", "8", "--train.log-every", "2"),
    *("--model.discriminative-widths", "6", "8", "--train.batch-size", "4"),
    *("--train.epochs", "1", "--train.epoch-images", "8", "--train.crop-px", "32"),
    *("--train.validate-every-epochs", "1", "--train.patience-epochs", "0"),
    *("--anomalies", "6", "--validation-anomalies", "2"),
)


def write_parts(folder: Path, *, height: int = 60, width: int = 150) -> Path:
    """A category `strip` of long parts, with one test defect."""
    rng = np.random.default_rng(0)
    root = folder / "parts" / "strip"
    pixels = np.zeros((height, width, 3), np.uint8)
    for i in range(2):
        pixels = rng.integers(100, 140, (height, width, 3)).astype(np.uint8)
        write_image(root / "train" / "good" / f"{i}.png", pixels)
        write_image(root / "test" / "good" / f"{i}.png", pixels[::-1])
    # One photograph of another proportion.
    write_image(root / "test" / "good" / "2.png", pixels[:, : width // 2])
    mask = np.zeros((height, width), np.uint8)
    mask[20:32, 100:112] = 255
    pixels[mask > 0] = (250, 250, 30)
    write_image(root / "test" / "hole" / "0.png", pixels)
    write_image(root / "ground_truth" / "hole" / "0_mask.png", mask)
    return folder / "parts"


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize(
    ("kind", "flags", "size"),
    [
        ("texture", PAPER, [40, 100]),
        pytest.param("object", FLAGS, [40, 96], marks=pytest.mark.slow),
        pytest.param("texture", FLAGS, [40, 96], marks=pytest.mark.slow),
    ],
)
def test_long_parts_are_trained_scored_and_exported_in_their_proportion(
    kind, flags, size, tmp_path, capsys
):
    parts, run = write_parts(tmp_path), tmp_path / "run"
    where = ("--dataset", "folder", "--data-dir", str(parts), "--kind", kind)
    main([*where, *flags, "--out", str(run)])
    (line,) = without_times(run)
    assert line["size_px"] == size
    assert line["metrics"]["pixel_auroc"] is not None
    key = line["inputs"]["shards"]
    shards = open_shards(tmp_path / "cache" / "anomalies" / key)
    assert shards.images.shape[1:] == (*size, 3)
    assert shards.manifest["size_px"] == size
    row = np.asarray(Image.open(next((run / "strip" / "pictures").iterdir())))
    assert row.shape[1] > row.shape[0]

    good = parts / "strip" / "test" / "good"
    write_image(good / "long.png", np.full((6, 600, 3), 120, np.uint8))
    with pytest.raises(SystemExit) as stopped:
        predict.main(
            [
                *("--run", str(run), "--images", str(good), "--maps", "npy"),
                *("--out", str(tmp_path / "out")),
            ]
        )
    assert stopped.value.code == 1
    assert "long.png of 600 x 6 px is too elongated" in capsys.readouterr().err
    with (tmp_path / "out" / "scores.csv").open() as file:
        decisions = {each["file"]: each["decision"] for each in csv.DictReader(file)}
    assert decisions.pop("long.png") == "unreadable"
    assert set(decisions) == {"0.png", "1.png", "2.png"}
    assert "unreadable" not in decisions.values()
    assert np.load(next((tmp_path / "out").rglob("2*.npy"))).shape == (60, 75)

    export.main(["--run", str(run), "--out", str(tmp_path / "export")])
    about = json.loads((tmp_path / "export" / "export.json").read_text())
    height, width = size
    assert about["preprocessing"]["resize_to"] == {"height": height, "width": width}
    assert about["input"]["images"] == f"uint8 [batch, {height}, {width}, 3]"


def test_elongated_shots_are_refused_before_anything_runs(tmp_path, capsys):
    parts = write_parts(tmp_path, height=40, width=1000)
    where = ("--dataset", "folder", "--data-dir", str(parts), "--kind", "object")
    said = refusal(capsys, *where, *FLAGS, "--out", str(tmp_path / "run"))
    last = said.splitlines()[-1]
    assert last.startswith("error: the shots ")
    assert "of strip: a photograph of 1000 x 40 px is too elongated" in last
    assert not (tmp_path / "run").exists()
