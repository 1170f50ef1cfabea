"""The size of the networks' images, and where a photograph lies in them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.framing import (
    MOST_STEPS,
    Framing,
    fitted_size,
    in_proportion,
    median_shape,
)
from datasets.images import to_size

SIDES = st.integers(40, 5000)
SHAPES = st.tuples(SIDES, SIDES)
SIZES = st.builds(lambda n, divisor: (n * divisor, divisor), *[st.integers(8, 40)] * 2)


def difference(shape, size) -> float:
    """Logarithm of the ratio of two proportions."""
    return abs(math.log(shape[0] / shape[1]) - math.log(size[0] / size[1]))


@given(SHAPES, SIZES)
def test_a_fitted_size_has_multiples_a_bounded_area_and_the_proportion(shape, size):
    image_px, divisor = size
    try:
        height, width = fitted_size(shape, image_px, divisor)
    except ValueError as error:
        assert max(shape) / min(shape) > (image_px / (32 + divisor)) ** 2
        assert "too elongated" in str(error)
        return
    assert height % divisor == width % divisor == 0
    assert height * width <= image_px**2
    assert min(height, width) >= min(32, image_px)
    assert difference(shape, (height, width)) <= min(0.2, divisor / min(height, width))
    assert fitted_size(shape[::-1], image_px, divisor) == (width, height)


@given(st.integers(1, 5000), SIZES)
def test_a_square_is_fitted_exactly(side, size):
    image_px, divisor = size
    assert fitted_size((side, side), image_px, divisor) == (image_px, image_px)
    assert fitted_size(median_shape([(side, side)] * 2), image_px) == (image_px,) * 2


def test_a_fitted_size_uses_most_of_the_area():
    for ratio in np.linspace(0.1, 1, 90):
        height, width = fitted_size((1000 * ratio, 1000), 256, 8)
        assert height * width > 0.86 * 256**2


def test_too_elongated_photographs_are_refused_with_what_fits():
    message = "9000 x 100 px is too elongated: .* 256 x 256 px .* up to 1:64 fit"
    with pytest.raises(ValueError, match=message):
        fitted_size((100, 9000), 256, 8)


def test_the_median_proportion_ignores_an_outlier_and_the_scale():
    assert median_shape([(300, 600), (10, 20), (500, 100)]) in [(300, 600), (10, 20)]
    height, width = median_shape([(100, 200), (200, 100)])
    assert height == pytest.approx(width)


@given(SHAPES, st.booleans())
def test_a_frame_keeps_the_proportion_and_lies_inside_its_image(shape, is_texture):
    framing = Framing((160, 400), 8, is_texture)
    try:
        frame = framing.frame(shape)
    except ValueError as error:
        assert "too elongated" in str(error)
        assert max(shape) / min(shape) > 15
        return
    assert frame.inside.shape == frame.size
    assert frame.inside.sum() == frame.height * frame.width
    if is_texture:
        assert frame.size[0] * frame.size[1] <= 160 * 400
        assert frame.is_whole or difference(shape, frame.size) > 0.13
    else:
        assert frame.size == (160, 400)
    if not frame.is_whole:
        sides = zip((frame.height, frame.width), frame.size, strict=True)
        assert any(part == whole for part, whole in sides)
        rounding = 1 / min(frame.height, frame.width)
        assert difference(shape, (frame.height, frame.width)) <= rounding


@given(st.lists(SHAPES, min_size=1, max_size=60))
def test_a_texture_has_few_sizes(shapes):
    framing = Framing((256, 256), 8, is_texture=True)
    shapes = [shape for shape in shapes if max(shape) < 20 * min(shape)]
    sizes = {framing.frame(shape).size for shape in shapes}
    assert len(sizes) <= 2 * MOST_STEPS + 1


@pytest.mark.parametrize("size", [(256, 256), (160, 400), (32, 2048), (216, 288)])
@pytest.mark.parametrize("is_texture", [False, True])
def test_photographs_of_the_shots_proportion_are_only_resized(size, is_texture):
    framing = Framing(size, 8, is_texture)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    assert framing.frame((3 * size[0] + 2, 3 * size[1] - 2)).is_whole
    assert framing.training_image(image) is image


def test_with_fit_square_every_photograph_is_squeezed():
    framing = Framing((64, 64), 8, is_texture=True, fit="square")
    image = np.random.default_rng(0).integers(0, 256, (30, 600, 3)).astype(np.uint8)
    assert framing.frame(image.shape).is_whole
    np.testing.assert_array_equal(
        framing.training_image(image), to_size(image, (64, 64))
    )


@pytest.mark.parametrize("is_texture", [False, True])
def test_a_photograph_of_another_proportion_is_continued_and_cut_off(is_texture):
    framing = Framing((64, 64), 8, is_texture)
    image = np.arange(64 * 16, dtype=np.uint8).reshape(16, 64)[..., None].repeat(3, -1)
    frame = framing.training_frame(image.shape)
    framed = framing.put(image, frame)
    assert framed.shape == (64, 64, 3)
    np.testing.assert_array_equal(frame.cut(framed), image)
    assert (frame.top, frame.left) == (24, 0)
    beyond = image[0] if not is_texture else image[1]
    np.testing.assert_array_equal(framed[22], beyond)


def test_elongated_photographs_are_refused_by_name():
    framing = Framing((256, 256), 8, is_texture=False)
    message = r"a/b.png of 4000 x 100 px is too elongated: in 256 x 256 px .* 1:32 fit"
    with pytest.raises(ValueError, match=message):
        framing.frame((100, 4000), name="a/b.png")
    assert framing.frame((100, 3200)).height == 8


def test_areas_are_averaged_at_any_proportion():
    checks = np.indices((64, 128)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    for size in [(32, 32), (32, 64), (16, 64)]:
        small = to_size(image, size)
        assert small.shape == (*size, 3)
        assert np.abs(small.astype(int) - 127).max() <= 1
    assert to_size(image, (256, 256)).shape == (256, 256, 3)
    assert to_size(image, (64, 128)) is image


def test_the_nearest_size_is_in_proportion():
    assert in_proportion((400, 1000), (160, 400), 8)
    assert not in_proportion((400, 1000), (256, 256), 8)
