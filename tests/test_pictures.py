"""Figure-3 rows, the pictures of a category, and the curves beside them."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.curve_file import thinned, write_curves
from experiments.figure3 import PANELS, contact_sheet, figure3, overlay, split_figure3
from experiments.pictures import chosen_to_draw, draw_predictions, training_curves
from experiments.truths import Truth
from lfq_jax.metrics.curves import Curve, pro
from lfq_jax.metrics.evaluation import StreamingPixelMetrics, to_mask_resolution
from tests.fake_run import example, prediction

GREY = np.full((40, 40, 3), 120, np.uint8)


def heat(value=0.0, px=40):
    return np.full((px, px), value, np.float32)


def test_the_overlay_leaves_the_part_as_it_is_where_the_map_is_zero():
    heat_map = heat()
    heat_map[:10] = 1.0
    drawn = overlay(GREY, heat_map, opacity=0.6)
    np.testing.assert_array_equal(drawn[10:], GREY[10:])
    hottest = np.array([122, 4, 2])  # the last colour of turbo
    expected = np.round(0.4 * 120 + 0.6 * hottest)
    np.testing.assert_allclose(drawn[:10], np.broadcast_to(expected, (10, 40, 3)))


def test_the_overlay_covers_more_the_higher_the_map():
    changes = [
        np.abs(overlay(GREY, heat(value), opacity=0.7).astype(int) - GREY).sum()
        for value in (0.02, 0.1, 0.3)
    ]
    assert changes == sorted(changes)
    assert len(set(changes)) == 3


@pytest.mark.parametrize(
    ("heat_map", "message"),
    [
        (heat(1.5), r"heat_map must be in \[0, 1\], got values 1.5 to 1.5"),
        (heat(np.nan), r"heat_map must be in \[0, 1\], got values nan"),
        (heat(px=20), r"heat_map must have the image's size \(40, 40\)"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_refused(heat_map, message):
    with pytest.raises(ValueError, match=message):
        overlay(GREY, heat_map)


def test_an_opacity_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"opacity must be in \[0, 1\], got 2"):
        overlay(GREY, heat(), opacity=2)


def test_a_row_splits_into_the_four_panels_it_was_made_of():
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    reconstruction = np.full((16, 16, 3), 200, np.uint8)
    row = figure3(GREY, reconstruction, heat(px=16), mask, panel_px=40)
    panels = split_figure3(row)
    assert tuple(panels) == PANELS
    np.testing.assert_array_equal(np.asarray(panels["image"]), GREY)
    np.testing.assert_array_equal(np.asarray(panels["heat map"]), GREY)
    assert (np.asarray(panels["reconstruction"]) == 200).all()
    truth = np.asarray(panels["ground truth"])
    np.testing.assert_array_equal(truth, np.where(mask, 255, 0)[..., None] + [0, 0, 0])


def test_an_image_keeps_its_shape_and_the_panels_lie_on_each_other():
    image = np.full((80, 20, 3), 250, np.uint8)
    reconstruction = np.full((16, 16, 3), 250, np.uint8)
    mask = np.ones((80, 20), bool)
    row = figure3(image, reconstruction, heat(px=16), mask, panel_px=40)
    bright = [np.asarray(p.convert("L")) > 200 for p in split_figure3(row).values()]
    assert bright[0].sum() == 40 * 10
    for other in bright[1:]:
        np.testing.assert_array_equal(other, bright[0])


def test_a_thin_defect_is_still_white_in_a_small_panel():
    image = np.zeros((400, 400, 3), np.uint8)
    mask = np.zeros((400, 400), bool)
    mask[201] = True
    row = figure3(image, None, heat(px=16), mask, panel_px=40)
    truth = np.asarray(split_figure3(row)["ground truth"].convert("L"))
    assert (truth[20] == 255).all()


def test_a_missing_panel_says_so():
    row = figure3(GREY, None, heat(), None, panel_px=96)
    panels = split_figure3(row)
    shown = [np.asarray(panels[name]) for name in ("reconstruction", "ground truth")]
    assert all(panel.std() > 0 for panel in shown)
    assert not np.array_equal(shown[0], shown[1])


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="mask must have the image's size"):
        figure3(GREY, None, heat(), np.zeros((20, 20), bool))


def test_a_picture_that_is_no_row_is_not_split():
    with pytest.raises(ValueError, match="row must be four square panels"):
        split_figure3(Image.new("RGB", (100, 100)))


def test_a_contact_sheet_holds_every_row():
    rows = [figure3(np.full_like(GREY, tone), None, heat(), None) for tone in (9, 99)]
    sheet = np.asarray(contact_sheet([("dark", rows[0]), ("bright", rows[1])]))
    for tone in (9, 99):
        # image and heat map; a few pixels of the label's letters have the tone too
        assert 0 <= (sheet == tone).all(-1).sum() - 2 * 192 * 192 < 1000


def test_a_contact_sheet_of_rows_of_several_sizes_is_refused():
    rows = [figure3(GREY, None, heat(), None, panel_px=px) for px in (32, 48)]
    with pytest.raises(ValueError, match="rows must be pictures of one size"):
        contact_sheet([("", row) for row in rows])


def drawn(folder, scores, *, limit=40):
    """Predictions of a category of one defect, and what was written of them."""
    examples = [
        example("gear", defect, number)
        for defect, values in scores.items()
        for number, _ in enumerate(values)
    ]
    values = [value for each in scores.values() for value in each]
    predictions = [prediction(*pair) for pair in zip(examples, values, strict=True)]
    truths = [Truth.of(each) for each in examples]
    draw_predictions(
        folder, examples, truths, predictions, image_score="smoothed_max", limit=limit
    )
    text = (folder / "predictions.jsonl").read_text()
    return examples, predictions, [json.loads(line) for line in text.splitlines()]


def test_every_test_image_gets_a_line_and_at_most_limit_a_picture(tmp_path):
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
            panels = split_figure3(picture.convert("RGB"))
        image, coloured = (np.asarray(panels[n], int) for n in ("image", "heat map"))
        changes.append(np.abs(image - coloured).max())
        assert of.mask.any()
    # the weaker map is half of the stronger one, and so is what it covers
    assert changes[0] < 0.75 * changes[1]


def test_a_limit_of_zero_draws_nothing(tmp_path):
    _, _, lines = drawn(tmp_path, {"good": [0.1], "crack": [0.9]}, limit=0)
    assert {line["picture"] for line in lines} == {None}
    assert list(tmp_path.glob("**/*.png")) == []


def test_keys_that_give_one_file_name_get_a_picture_each(tmp_path):
    examples = [
        example("gear", "crack", number)._replace(key=key)
        for number, key in enumerate(["a/b", "a b", "A/B", "../.."])
    ]
    predictions = [prediction(each, 0.5) for each in examples]
    truths = [Truth.of(each) for each in examples]
    draw_predictions(tmp_path, examples, truths, predictions, image_score="max")
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"a_b.png", "a_b-2.png", "A_B-3.png", "image.png"}


def test_the_hardest_images_are_always_drawn():
    scores = np.array([0.1, 0.2, 0.9, 0.8, 0.7, 0.05, 0.6, 0.65])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    defects = ["good"] * 3 + ["crack"] * 3 + ["hole"] * 2
    chosen = chosen_to_draw(scores, labels, defects, limit=5)
    assert {2, 5} <= chosen  # the highest good part, the lowest defect
    assert {defects[i] for i in chosen} == {"good", "crack", "hole"}
    assert len(chosen) == 5


def log_line(step, **figures):
    return json.dumps({"step": step, **figures}) + "\n"


def test_training_curves_draw_what_the_log_holds(tmp_path):
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


def test_the_drawn_pro_curve_has_the_area_of_the_figure(tmp_path):
    examples = [example("gear", "crack", number, px=60) for number in range(3)]
    rng = np.random.default_rng(0)
    predictions = []
    for each in examples:
        of = prediction(each, 0.9)
        noise = rng.uniform(0, 1, of.map.shape).astype(np.float32)
        predictions.append(of._replace(map=np.maximum(of.map, noise)))
    write_curves(tmp_path, [Truth.of(each) for each in examples], predictions)
    x, y = json.loads((tmp_path / "curves.json").read_text())["pro"]
    assert len(x) <= 200
    gathered = StreamingPixelMetrics()
    for each, of in zip(examples, predictions, strict=True):
        gathered.update([to_mask_resolution(of.map, each.mask.shape)], [each.mask])
    grid = np.linspace(0, 0.3, 20_001)
    area = np.trapezoid(np.interp(grid, x, y), grid) / 0.3
    assert area == pytest.approx(pro(gathered.counts()), abs=2e-3)


def test_curves_of_good_parts_alone_are_not_written(tmp_path):
    good = example("gear", "good", 0)
    write_curves(tmp_path, [Truth.of(good)], [prediction(good, 0.2)])
    assert list(tmp_path.iterdir()) == []


def test_thinning_keeps_the_ends_and_the_corners():
    x = np.concatenate([np.zeros(1000), np.linspace(0, 1, 1000)])
    y = np.concatenate([np.linspace(0, 1, 1000), np.ones(1000)])
    thin = thinned(Curve(x, y), points=50)
    assert len(thin[0]) <= 50
    assert (thin[0][0], thin[1][0], thin[0][-1], thin[1][-1]) == (0, 0, 1, 1)
    assert min(np.hypot(thin[0], np.subtract(1, thin[1]))) < 0.05
