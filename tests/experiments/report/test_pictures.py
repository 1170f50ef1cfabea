"""The pictures of a category's predictions, and the plots of its training."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.measure.ground_truths import GroundTruth
from experiments.report.panels import split_panel_row
from experiments.report.pictures import (
    _file_names,
    chosen_to_draw,
    draw_predictions,
    training_curves,
)
from tests.fake_run import example, prediction


def drawn(folder, scores, *, limit=40):
    """Draw a category; return examples, predictions and the lines that were written."""
    examples = [
        example("gear", defect, number)
        for defect, values in scores.items()
        for number, _ in enumerate(values)
    ]
    values = [value for each in scores.values() for value in each]
    predictions = [prediction(*pair) for pair in zip(examples, values, strict=True)]
    truths = [GroundTruth.of(each) for each in examples]
    draw_predictions(
        folder, examples, truths, predictions, image_score="smoothed_max", limit=limit
    )
    text = (folder / "predictions.jsonl").read_text()
    return examples, predictions, [json.loads(line) for line in text.splitlines()]


def test_every_test_image_gets_a_line_and_at_most_limit_get_a_picture(tmp_path):
    scores = {"good": [0.1, 0.2, 0.3], "crack": [0.6, 0.7, 0.8]}
    _, predictions, lines = drawn(tmp_path, scores, limit=4)
    assert [line["key"] for line in lines] == [
        *("good/000", "good/001", "good/002"),
        *("crack/000", "crack/001", "crack/002"),
    ]
    assert [line["score"] for line in lines] == [0.1, 0.2, 0.3, 0.6, 0.7, 0.8]
    assert lines[3]["scores"] == predictions[3].scores
    named = {line["picture"] for line in lines if line["picture"]}
    files = {f"pictures/{p.name}" for p in (tmp_path / "pictures").iterdir()}
    assert named == files
    assert len(named) == 4


def test_equal_colours_mean_equal_values_within_a_category(tmp_path):
    examples, _, lines = drawn(tmp_path, {"crack": [0.2, 0.4]})
    changes = []
    for of, line in zip(examples, lines, strict=True):
        with Image.open(tmp_path / line["picture"]) as picture:
            panels = split_panel_row(picture.convert("RGB"))
        image, coloured = (np.asarray(panels[n], int) for n in ("image", "heat map"))
        changes.append(np.abs(image - coloured).max())
        assert of.mask.any()
    # The weaker map is half of the stronger one and covers half as much.
    assert changes[0] < 0.75 * changes[1]


def test_a_limit_of_zero_draws_nothing(tmp_path):
    _, _, lines = drawn(tmp_path, {"good": [0.1], "crack": [0.9]}, limit=0)
    assert {line["picture"] for line in lines} == {None}
    assert list(tmp_path.glob("**/*.png")) == []


def test_keys_with_the_same_file_name_get_a_picture_each(tmp_path):
    examples = [
        example("gear", "crack", number)._replace(key=key)
        for number, key in enumerate(["a/b", "a b", "A/B", "../.."])
    ]
    predictions = [prediction(each, 0.5) for each in examples]
    truths = [GroundTruth.of(each) for each in examples]
    draw_predictions(tmp_path, examples, truths, predictions, image_score="max")
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"a_b.png", "a_b-2.png", "A_B-3.png", "image.png"}


def test_the_hardest_images_are_always_drawn():
    scores = np.array([0.1, 0.2, 0.9, 0.8, 0.7, 0.05, 0.6, 0.65])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    defects = ["good"] * 3 + ["crack"] * 3 + ["hole"] * 2
    chosen = chosen_to_draw(scores, labels, defects, limit=5)
    highest_good_part, lowest_defect = 2, 5
    assert {highest_good_part, lowest_defect} <= chosen
    assert {defects[i] for i in chosen} == {"good", "crack", "hole"}
    assert len(chosen) == 5


def log_line(step, **figures):
    return json.dumps({"step": step, **figures}) + "\n"


def test_training_curves_draw_everything_in_the_log(tmp_path):
    log = tmp_path / "metrics.jsonl"
    losses = [log_line(step, loss=5 / step) for step in (1, 2, 3)]
    log.write_text("".join(losses))
    training_curves(log, tmp_path / "losses.png")
    more = {"validation/pixel_auroc": 0.9, "quantizer/perplexity": 3.0}
    log.write_text("".join([*losses, log_line(4, loss=1.0, **more)]))
    training_curves(log, tmp_path / "all.png")
    widths = []
    for name in ("losses.png", "all.png"):
        with Image.open(tmp_path / name) as picture:
            assert len(picture.convert("L").getcolors() or []) > 10
            widths.append(picture.width)
    assert widths[1] == 3 * widths[0]  # one plot, then three


def test_a_half_written_last_line_of_the_log_is_left_out(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text(log_line(1, loss=1.0) + '{"step": 2, "lo')
    training_curves(log, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no training log to draw"),
        ('{"loss": 1}\n', "entry 1 has no step"),
        ("{\n" + log_line(1, loss=1.0), "line 1 is damaged"),
    ],
)
def test_a_log_that_cannot_be_drawn_is_refused(tmp_path, text, message):
    log = tmp_path / "metrics.jsonl"
    log.write_text(text)
    with pytest.raises(ValueError, match=message):
        training_curves(log, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_the_longest_keys_get_a_picture_name_that_fits():
    keys = ["crack/" + "n" * 250, "crack/" + "n" * 249 + "m", "a b/0", "a_b/0", "A_B/0"]
    names = _file_names(keys)
    assert len({name.lower() for name in names}) == len(keys)
    assert max(map(len, names)) <= 251
    assert names[2:] == ["a_b_0", "a_b_0-2", "A_B_0-3"]
