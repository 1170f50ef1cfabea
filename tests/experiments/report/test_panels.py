"""Rows of panels as in the paper's figure 3: drawn, split again, and refused."""

import numpy as np
import pytest
from PIL import Image

from experiments.report.panels import (
    PANELS,
    WITHOUT_RECONSTRUCTION,
    absent_panel,
    contact_sheet,
    overlay,
    panel_row,
    split_panel_row,
)

GREY = np.full((40, 40, 3), 120, np.uint8)


def heat(value=0.0, px=40):
    return np.full((px, px), value, np.float32)


def test_the_overlay_does_not_change_the_part_where_the_map_is_zero():
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
    row = panel_row(GREY, reconstruction, heat(px=16), mask, panel_px=40)
    panels = split_panel_row(row)
    assert tuple(panels) == PANELS
    np.testing.assert_array_equal(np.asarray(panels["image"]), GREY)
    np.testing.assert_array_equal(np.asarray(panels["heat map"]), GREY)
    assert (np.asarray(panels["reconstruction"]) == 200).all()
    truth = np.asarray(panels["ground truth"])
    np.testing.assert_array_equal(truth, np.where(mask, 255, 0)[..., None] + [0, 0, 0])


def test_an_image_keeps_its_aspect_ratio_and_all_panels_are_aligned():
    image = np.full((80, 20, 3), 250, np.uint8)
    reconstruction = np.full((16, 16, 3), 250, np.uint8)
    mask = np.ones((80, 20), bool)
    row = panel_row(image, reconstruction, heat(px=16), mask, panel_px=40)
    bright = [np.asarray(p.convert("L")) > 200 for p in split_panel_row(row).values()]
    assert bright[0].sum() == 40 * 10
    for other in bright[1:]:
        np.testing.assert_array_equal(other, bright[0])


def test_a_thin_defect_is_still_white_in_a_small_panel():
    image = np.zeros((400, 400, 3), np.uint8)
    mask = np.zeros((400, 400), bool)
    mask[201] = True
    row = panel_row(image, None, heat(px=16), mask, panel_px=40)
    truth = np.asarray(split_panel_row(row)["ground truth"].convert("L"))
    assert (truth[20] == 255).all()


def test_a_missing_mask_is_named_and_a_missing_reconstruction_has_no_panel():
    row = panel_row(GREY, None, heat(), None, panel_px=96)
    panels = split_panel_row(row)
    assert tuple(panels) == WITHOUT_RECONSTRUCTION
    assert np.asarray(panels["ground truth"]).std() > 0
    np.testing.assert_array_equal(
        np.asarray(panels["ground truth"]), np.asarray(absent_panel("ground truth", 96))
    )


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="mask must have the image's size"):
        panel_row(GREY, None, heat(), np.zeros((20, 20), bool))


def test_a_picture_that_is_not_a_row_is_not_split():
    with pytest.raises(ValueError, match="row must be three or four square panels"):
        split_panel_row(Image.new("RGB", (100, 100)))


def test_a_contact_sheet_holds_every_row():
    rows = [panel_row(np.full_like(GREY, tone), None, heat(), None) for tone in (9, 99)]
    sheet = np.asarray(contact_sheet([("dark", rows[0]), ("bright", rows[1])]))
    for tone in (9, 99):
        # image and heat map; a few pixels of the label's letters have the tone too
        assert 0 <= (sheet == tone).all(-1).sum() - 2 * 192 * 192 < 1000


def test_a_contact_sheet_of_rows_with_different_sizes_is_refused():
    rows = [panel_row(GREY, None, heat(), None, panel_px=px) for px in (32, 48)]
    with pytest.raises(ValueError, match="rows must be pictures of one size"):
        contact_sheet([("", row) for row in rows])
