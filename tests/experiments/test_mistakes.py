"""The worst mistakes of several runs: their order, their pictures, and refusals."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.mistakes import main, mistakes_of, table, worst
from tests.refusals import refused

THRESHOLD = 0.5


def write_run(folder, category, scores, *, panels=3):
    """A finished run with a picture of every image: `scores` by key, defects first."""
    pictures = folder / category / "pictures"
    pictures.mkdir(parents=True)
    (folder / "config.json").write_text('{"command": "few_shot", "config": {}}')
    line = {"category": category, "threshold": THRESHOLD, "dataset": "folder"}
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    lines = []
    for key, score in scores.items():
        name = f"pictures/{key.replace('/', '_')}.png"
        width = panels * 192 + (panels - 1) * 4
        Image.fromarray(np.zeros((192, width, 3), np.uint8)).save(
            folder / category / name
        )
        defect = key.split("/")[0]
        label = int(defect != "good")
        lines.append(
            {
                "key": key,
                "defect": defect,
                "label": label,
                "score": score,
                "picture": name,
            }
        )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / category / "predictions.jsonl").write_text(text)
    return folder


PLATE = {
    "hole/0": 0.1,
    "hole/1": 0.9,
    "hole/2": 0.35,
    "good/0": 0.3,
    "good/1": 0.2,
    "good/2": 0.6,
    "good/3": 0.05,
}


def test_mistakes_are_ordered_by_images_on_their_wrong_side(tmp_path):
    run = write_run(tmp_path / "run", "plate", PLATE)
    found = mistakes_of(run, {"category": "plate", "threshold": THRESHOLD})
    misses = worst(found, "miss", 10)
    assert [(each.key, each.wrong_side) for each in misses] == [
        ("hole/0", 0.75),
        ("hole/2", 0.25),
    ]
    assert all(each.is_decided for each in misses)
    alarms = worst(found, "false alarm", 1)
    assert [(each.key, each.wrong_side) for each in alarms] == [("good/2", 2 / 3)]
    others = worst(found, "false alarm", 10)[1:]
    assert [(each.key, each.is_decided) for each in others] == [
        ("good/0", False),
        ("good/1", False),
    ]
    shown = table(misses)
    assert "| plate | hole/0 | 0.100 | 75% of the good images | yes | run |" in shown


def test_mistakes_of_several_runs_come_in_one_order_with_pictures(tmp_path, capsys):
    first = write_run(tmp_path / "one", "plate", PLATE)
    worse = {"crack/0": 0.1, "good/0": 0.2, "good/1": 0.3}
    second = write_run(tmp_path / "two", "cup", worse)
    out = tmp_path / "out"
    main(["--runs", str(first), str(second), "--out", str(out), "--count", "2"])
    said = capsys.readouterr().out
    assert "worst misses: 2" in said and "worst false alarms: 2" in said
    assert said.index("crack/0") < said.index("hole/0")
    with Image.open(out / "misses.png") as sheet:
        assert sheet.height > 2 * 192
    assert (out / "false_alarms.png").is_file()


def test_a_run_without_mistakes_writes_no_picture(tmp_path, capsys):
    run = write_run(tmp_path / "run", "plate", {"hole/0": 0.9, "good/0": 0.1})
    main(["--runs", str(run), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "worst misses: 0" in said and "worst false alarms: 0" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--runs", "nowhere"], "nowhere holds no run"),
        (["--runs", "nowhere", "--count", "0"], "--count must be at least 1, got 0"),
    ],
)
def test_a_mistake_prints_one_line(capsys, arguments, expected):
    assert expected in refused(capsys, main, arguments)


def test_unfinished_damaged_and_unlike_runs_are_refused(tmp_path, capsys):
    run = write_run(tmp_path / "run", "plate", PLATE)
    other = write_run(tmp_path / "other", "cup", PLATE, panels=4)
    arguments = ["--out", str(tmp_path / "out"), "--runs"]
    said = refused(capsys, main, [*arguments, str(run), str(other)])
    assert "--runs must all be of detectors that reconstruct images" in said
    (run / "plate" / "predictions.jsonl").write_text('{"key": ')
    said = refused(capsys, main, [*arguments, str(run)])
    assert "predictions.jsonl cannot be read" in said
    (run / "results.jsonl").unlink()
    said = refused(capsys, main, [*arguments, str(run)])
    assert "has no finished category" in said
