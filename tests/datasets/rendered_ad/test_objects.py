"""The renderers of bolt, gear, capsule and board."""

import importlib
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from datasets.rendered_ad import inspection, shapes
from datasets.rendered_ad.inspection import Scene, changed_region, stage
from datasets.rendered_ad.photograph import srgb_curve

CATEGORIES = ("board", "bolt", "capsule", "gear")
SIDE = 128
MODULES: dict[str, ModuleType] = {
    name: importlib.import_module(f"datasets.rendered_ad.{name}") for name in CATEGORIES
}
KINDS = [(name, defect) for name in CATEGORIES for defect in MODULES[name].DEFECTS]


def rendered(name: str, defect: str, seed: int = 0, side: int = SIDE):
    rng = np.random.default_rng((seed, 7))
    return MODULES[name].render(rng, defect=defect, image_px=side)


def staged(name: str, defect: str, seed: int = 0, side: int = SIDE) -> Scene:
    module = MODULES[name]
    scene, _ = stage(
        np.random.default_rng((seed, 7)),
        module.draw,
        defect=defect,
        defects=module.DEFECTS,
        image_px=side,
    )
    return scene


def beyond(mask: np.ndarray, *, pixels: int) -> np.ndarray:
    """Mask of the pixels more than `pixels` away from the mask."""
    return np.asarray(ndimage.distance_transform_edt(np.logical_not(mask))) > pixels


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_good_part_has_an_empty_mask_and_eight_bit_colour(name):
    image, mask = rendered(name, "good")
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
    assert mask.shape == (SIDE, SIDE) and mask.dtype == np.bool_
    assert not mask.any()
    assert image.std() > 15  # the image is not empty


@pytest.mark.parametrize("name", CATEGORIES)
def test_there_are_at_least_four_kinds_of_defect(name):
    defects = MODULES[name].DEFECTS
    assert len(defects) >= 4 and len(set(defects)) == len(defects)
    assert "good" not in defects


@pytest.mark.parametrize(("name", "defect"), KINDS)
def test_every_defect_has_a_mask_of_plausible_size(name, defect):
    for seed in range(2):
        image, mask = rendered(name, defect, seed)
        assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
        assert mask.shape == (SIDE, SIDE) and mask.dtype == np.bool_
        assert 0.0004 < mask.mean() < 0.09


@pytest.mark.parametrize(("name", "defect"), KINDS)
def test_the_same_seed_gives_the_same_photograph(name, defect):
    first, second = rendered(name, defect), rendered(name, defect)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize(("name", "defect"), KINDS)
def test_the_scene_is_unchanged_outside_the_mask(name, defect):
    scene = staged(name, defect, seed=3)
    change = np.abs(srgb_curve(scene.good) - srgb_curve(scene.shown)).max(axis=-1)
    outside = beyond(scene.mask, pixels=2)
    assert change[scene.mask].max() > 3 * inspection.VISIBLE_CHANGE
    assert change[outside].max() <= inspection.VISIBLE_CHANGE
    # A defect changes the rest of the scene only by its faint shadow.
    assert (change[outside] > 1 / 255).mean() < 0.05


@pytest.mark.parametrize(("name", "defect"), KINDS)
def test_a_defect_is_visible_where_the_mask_is_set(name, defect):
    """Good and defective photographs have the same camera noise outside the defect."""
    good, _ = rendered(name, "good", seed=5)
    shown, mask = rendered(name, defect, seed=5)
    change = np.abs(good.astype(int) - shown.astype(int)).max(axis=-1)
    far = beyond(mask, pixels=4)
    assert change[mask].mean() > 3 * max(change[far].mean(), 0.5)


@pytest.mark.parametrize("name", CATEGORIES)
def test_good_parts_differ(name):
    images = [rendered(name, "good", seed)[0].astype(float) for seed in range(3)]
    for i in range(3):
        for j in range(i):
            assert np.abs(images[i] - images[j]).mean() > 1


@pytest.mark.parametrize("name", CATEGORIES)
def test_successive_draws_of_one_generator_differ(name):
    rng = np.random.default_rng(4)
    first, _ = MODULES[name].render(rng, defect="good", image_px=SIDE)
    second, _ = MODULES[name].render(rng, defect="good", image_px=SIDE)
    assert np.abs(first.astype(float) - second).mean() > 1


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_defect_has_the_same_position_at_another_resolution(name):
    defect = MODULES[name].DEFECTS[-1]
    places = []
    for side in (160, 320):
        rows, columns = np.nonzero(staged(name, defect, seed=1, side=side).mask)
        places.append(np.array([rows.mean(), columns.mean()]) / side)
    assert np.abs(places[0] - places[1]).max() < 0.03


@pytest.mark.parametrize("name", CATEGORIES)
def test_an_unknown_defect_is_refused_with_a_list(name):
    with pytest.raises(
        ValueError, match=r"defect must be one of 'good'.* got 'rot'"
    ) as raised:
        rendered(name, "rot")
    for defect in MODULES[name].DEFECTS:
        assert repr(defect) in str(raised.value)


def test_a_tiny_image_is_refused():
    with pytest.raises(ValueError, match="image_px must be at least 64, got 32"):
        rendered("bolt", "good", side=32)


def test_the_changed_region_has_its_holes_filled():
    good = np.full((64, 64, 3), 0.3, np.float32)
    shown = good.copy()
    shown[20:30, 20:30] = 0.6
    shown[24:26, 24:26] = 0.3
    expected = np.zeros((64, 64), bool)
    expected[20:30, 20:30] = True
    np.testing.assert_array_equal(changed_region(good, shown), expected)


def test_a_change_below_the_threshold_is_ignored():
    good = np.full((64, 64, 3), 0.3, np.float32)
    assert not changed_region(good, good + np.float32(0.005)).any()
    assert changed_region(good, good + np.float32(0.05)).all()


def test_a_change_at_the_border_is_kept_exactly():
    good = np.full((64, 64, 3), 0.3, np.float32)
    shown = good.copy()
    shown[:5, :7] = 0.7
    expected = np.zeros((64, 64), bool)
    expected[:5, :7] = True
    np.testing.assert_array_equal(changed_region(good, shown), expected)


def test_distances_are_euclidean():
    x, y = shapes.pixel_grid(101)
    assert shapes.circle(x, y, 0.2)[50, 50] == pytest.approx(-0.2)
    square = shapes.box(x, y, 0.1, 0.2)
    assert square[50, 100] == pytest.approx(x[50, 100] - 0.1, abs=1e-6)
    assert square[50, 50] == pytest.approx(-0.1, abs=1e-6)
    corner = np.hypot(x[100, 100] - 0.1, y[100, 100] - 0.2)
    assert square[100, 100] == pytest.approx(corner, abs=1e-6)


def test_coverage_of_a_disc_sums_to_its_area():
    x, y = shapes.pixel_grid(200)
    area = shapes.coverage(shapes.circle(x, y, 0.3), 200).mean()
    assert area == pytest.approx(np.pi * 0.09, rel=1e-3)


def test_a_stroke_has_the_requested_width():
    x, y = shapes.pixel_grid(400)
    points = np.array([[-0.2, 0.0], [0.2, 0.0]])
    line = shapes.stroke(x, y, points, np.array([0.01, 0.01]))
    expected = 0.4 * 0.02 + np.pi * 0.01**2
    assert shapes.coverage(line, 400).mean() == pytest.approx(expected, rel=0.02)


def test_part_coordinates_undo_rotation_and_shift():
    x, y = np.full((1, 1), 0.3, np.float32), np.full((1, 1), 0.1, np.float32)
    u, v = shapes.part_coordinates(x, y, shift=(0.1, 0.1), degrees=90)
    assert (float(u[0, 0]), float(v[0, 0])) == pytest.approx((0.0, -0.2), abs=1e-6)


def test_renderers_import_neither_the_anomaly_generator_nor_a_framework():
    script = (
        "import sys\n"
        "from datasets.rendered_ad import board, bolt, capsule, gear\n"
        "bad = [m for m in ('agm_torch', 'torch', 'jax') if m in sys.modules]\n"
        "sys.exit(f'imported {bad}' if bad else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
