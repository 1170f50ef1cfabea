"""The ground-truth rule, and the rules of published code."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from lfq_jax.metrics.ground_truth import RULES, binarise, regions, under_rule
from lfq_jax.ops.resize import to_mask_resolution


def test_a_mask_is_anomalous_above_127():
    mask = np.array([[0, 127, 128, 255]], np.uint8)
    assert binarise(mask).tolist() == [[False, False, True, True]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_region_sizes_are_those_of_8_connected_regions(seed: int, share: float):
    mask = np.random.default_rng(seed).random((9, 7)) < share
    labels, count = cast(tuple, ndimage.label(mask, np.ones((3, 3))))
    expected = [np.sum(labels == label) for label in labels[mask]]
    assert regions(mask).tolist() == expected
    assert np.sum(1.0 / regions(mask)) == pytest.approx(count)


@pytest.mark.parametrize("shape", [(64, 64), (50, 33), (7, 90), (12, 12)])
def test_maps_are_enlarged_as_by_pillow(shape: tuple[int, int]):
    """When it enlarges, Pillow's bilinear filter has the same half-pixel centres."""
    anomaly_map = np.random.default_rng(0).random((7, 12)).astype(np.float32)
    found = to_mask_resolution(anomaly_map, shape)
    height, width = max(shape[0], 7), max(shape[1], 12)
    if shape == (height, width):
        expected = np.asarray(Image.fromarray(anomaly_map).resize((width, height), 2))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape == shape


def _defect() -> np.ndarray:
    """A 6 x 6 px square in a 512 px mask, not aligned with the grid at 256 px."""
    mask = np.zeros((512, 512), np.uint8)
    mask[101:107, 201:207] = 255
    return mask


def test_each_rule_gives_the_defect_the_size_that_its_code_gives():
    """At 256 px the 6 px square covers 2 x 2 pixels wholly and 4 x 4 partly."""
    anomaly_map = np.zeros((256, 256), np.float32)
    sizes = {rule: under_rule(anomaly_map, _defect(), rule=rule) for rule in RULES}
    assert {rule: int(pair.mask.sum()) for rule, pair in sizes.items()} == {
        "own-resolution": 36,
        "resized-nearest": 9,
        "resized-above-zero": 16,
        "resized-floor": 4,
    }
    assert {rule: pair.anomaly_map.shape for rule, pair in sizes.items()} == {
        rule: (512, 512) if rule == "own-resolution" else (256, 256) for rule in RULES
    }


def test_a_mask_of_the_evaluated_size_is_equal_under_every_rule():
    mask = _defect()[::2, ::2]
    for rule in RULES:
        pair = under_rule(np.zeros((64, 64), np.float32), mask, rule=rule)
        np.testing.assert_array_equal(pair.mask, mask > 127)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((2, 2), 0.5), "must be boolean or integers"),
        (np.array([[0, 300]]), "values of 0 to 255, got 0 to 300"),
        (np.array([[0, 1]], np.uint8), "none above 127"),
    ],
)
def test_invalid_masks_are_refused(mask: np.ndarray, message: str):
    with pytest.raises(ValueError, match=f"mask of a.png.*{message}"):
        binarise(mask, name="mask of a.png")


def test_maps_without_pixels_and_sides_of_0_are_refused():
    with pytest.raises(ValueError, match=r"\[h w\] with pixels in it"):
        to_mask_resolution(np.zeros((0, 4)), (4, 4))
    with pytest.raises(ValueError, match="evaluation_px must be at least 1, got 0"):
        under_rule(np.zeros((4, 4)), np.zeros((4, 4), bool), evaluation_px=0)
