"""Tiles cover an image, blend without seams, and keep small defects detectable."""

import itertools

import numpy as np
import pytest

from lfq_jax.inference.detector import Detector
from lfq_jax.inference.predictor import Predictor
from lfq_jax.inference.tiling import OVERLAP, Mosaic, Tile, tiles
from tests.tiny_detector import part, tiny


@pytest.mark.parametrize("size", [(64, 64), (65, 200), (100, 40), (32, 32), (5, 300)])
def test_tiles_cover_every_pixel_and_overlap(size):
    parts = tiles(size, (32, 32))
    covered = np.zeros(size, int)
    for tile in parts:
        covered[tile.place] += 1
    assert covered.min() >= 1
    tops = sorted({tile.top for tile in parts})
    assert all(b - a <= 32 * (1 - OVERLAP) for a, b in itertools.pairwise(tops))
    assert all(t.top + t.height <= max(size[0], 32) for t in parts)


def test_a_tile_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 16 px a side, got"):
        tiles((100, 100), (15, 64))


def test_beyond_the_image_a_tile_is_mirrored():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    padded = Tile(0, 0, 4, 2).of(image)
    assert padded.shape == (4, 2, 3)
    assert np.array_equal(padded[2:], image[::-1])


def test_a_map_cut_into_tiles_is_reassembled_without_a_seam():
    rng = np.random.default_rng(0)
    whole = rng.random((130, 75)).astype(np.float32)
    mosaic = Mosaic((130, 75))
    for tile in tiles((130, 75), (32, 48)):
        mosaic.add(tile, whole[tile.place])
    assert np.abs(mosaic.map() - whole).max() < 1e-6


def test_two_different_tiles_are_blended_gradually():
    mosaic = Mosaic((32, 56))
    left, right = tiles((32, 56), (32, 32))
    mosaic.add(left, np.zeros((32, 32), np.float32))
    mosaic.add(right, np.ones((32, 32), np.float32))
    row = mosaic.map()[16]
    assert np.all(np.diff(row) >= 0)
    assert np.diff(row).max() < 0.2
    assert (row[0], row[-1]) == (0, 1)


@pytest.fixture(scope="module")
def detector():
    saved, thresholds, _ = tiny(kind="texture")
    return Detector(Predictor(saved), thresholds)


def test_an_image_of_one_tile_scores_as_the_whole_image(detector):
    image = part(3, spot=True)
    whole, tiled = detector(image), detector(image, tile_px=32)
    assert whole.score == tiled.score
    assert np.array_equal(whole.heat_map, tiled.heat_map)


def test_a_small_defect_in_a_large_image_is_detected_only_by_tiles(detector):
    image = np.concatenate(
        [np.concatenate([part(100 + 8 * r + c) for c in range(8)], 1) for r in range(8)]
    )
    clean = detector(image, tile_px=32)
    image[150:158, 70:78] = 255
    spotted = detector(image, tile_px=32)
    assert spotted.score > clean.score + 0.2
    spot = np.zeros(image.shape[:2], bool)
    spot[150:158, 70:78] = True
    assert spotted.heat_map[spot].mean() > 3 * spotted.heat_map[~spot].mean()
    far = np.ones(image.shape[:2], bool)
    far[118:190, 38:110] = False
    assert np.abs(spotted.heat_map - clean.heat_map)[far].max() < 1e-4
    whole = detector(image)
    assert whole.score < spotted.score
