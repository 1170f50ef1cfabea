"""Photographs in their own proportions, and of other proportions than the shots."""

import logging

import numpy as np
import pytest

from lfq_jax.inference.predictor import Predictor, RawPrediction
from lfq_jax.ops.resize import to_mask_resolution
from tests.tiny_detector import part, tiny

WIDE = (40, 96)  # about 1 : 2.5, as large as 64 x 64


def predictor_of(kind: str) -> Predictor:
    saved, _, _ = tiny(kind=kind, size=WIDE)
    return Predictor(saved)


def spotted(height: int, width: int, row: int, column: int) -> np.ndarray:
    """A part with a bright spot of 1/8 of its shorter side at a place."""
    image = part(60, px=(height, width))
    side = min(height, width) // 8
    image[row : row + side, column : column + side] = 255
    return image


def maximum(raw: RawPrediction, shape: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of the largest value, in the photograph's pixels."""
    fine = to_mask_resolution(raw.map, (shape[0], shape[1]))
    row, column = np.unravel_index(fine.argmax(), fine.shape)
    return int(row), int(column)


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_a_defect_in_a_wide_photograph_is_found_where_it_is(kind):
    predictor = predictor_of(kind)
    places = [(10, 20), (60, 170), (20, 180), (65, 8)]
    images = [spotted(80, 200, *place) for place in places]
    for place, image, raw in zip(
        places, images, predictor.predict(images), strict=True
    ):
        assert raw.map.shape == WIDE
        row, column = maximum(raw, image.shape)
        assert place[0] - 4 <= row <= place[0] + 14
        assert place[1] - 4 <= column <= place[1] + 14


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_mixed_proportions_are_scored_in_order_and_told_once(kind, caplog):
    predictor = predictor_of(kind)
    shapes = [(80, 192), (96, 96), (80, 192), (192, 80), (96, 96), (80, 190)]
    images = [spotted(*shape, shape[0] // 2, shape[1] // 2) for shape in shapes]
    with caplog.at_level(logging.WARNING):
        together = list(predictor.predict(images, pads=True, reconstructs=True))
    assert len(caplog.messages) == 1
    assert "plate: photographs of other proportions than the shots" in caplog.text
    for shape, raw in zip(shapes, together, strict=True):
        row, column = maximum(raw, shape)
        assert abs(row - shape[0] / 2 - 5) <= 9
        assert abs(column - shape[1] / 2 - 5) <= 9
        assert raw.reconstruction is not None
        assert raw.reconstruction.shape[:2] == raw.map.shape
        height, width = raw.map.shape
        # One step of 8 px, or half a step between two sizes of a texture.
        assert abs(np.log(height * shape[1] / (width * shape[0]))) < 0.35
    for number, (image, raw) in enumerate(zip(images, together, strict=True)):
        # Only the first image is scored by a program for one image, too.
        (alone,) = predictor.predict([image], pads=number > 0)
        np.testing.assert_allclose(alone.map, raw.map, atol=1e-5)
        assert alone.scores == pytest.approx(raw.scores, abs=1e-5)


def test_what_is_filled_counts_in_no_score():
    predictor = predictor_of("object")
    image = part(61, px=(96, 96))
    (raw,) = predictor.predict([image])
    assert raw.map.shape == (40, 40)
    assert raw.map_max == pytest.approx(raw.map.max())
    scored = predictor.framing.training_image(image)
    maps, _ = predictor.score_batch(scored[None])
    frame = predictor.framing.frame(image.shape)
    inner = (slice(None), slice(frame.left + 4, frame.left + 36))
    np.testing.assert_allclose(raw.map[:, 4:36], maps[0][inner], atol=1e-5)


def test_an_elongated_photograph_is_refused():
    image = part(62, px=(8, 200))
    with pytest.raises(ValueError, match="200 x 8 px is too elongated"):
        list(predictor_of("object").predict([image]))


def test_tiles_have_the_proportion_of_the_shots():
    predictor = predictor_of("texture")
    assert predictor.tile_size(96) == WIDE
    image = part(63, px=(100, 300))
    image[60:70, 250:260] = 255
    (raw,) = predictor.predict([image], tile_px=96)
    assert raw.map.shape == (100, 300)
    row, column = maximum(raw, image.shape)
    assert 55 <= row <= 75
    assert 245 <= column <= 265
