"""Shapes are never empty and about of the wanted area."""

import numpy as np
import pytest

from agm_torch.masks.shapes import SHAPES, Canvas


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("area", [20, 600])
def test_a_shape_around_the_middle_is_never_empty_and_has_about_the_wanted_area(
    name, area
):
    allowed = np.ones((96, 96), bool)
    sizes = []
    for seed in range(20):
        canvas = Canvas(allowed, area, (48.0, 48.0))
        drawn = SHAPES[name](canvas, np.random.default_rng(seed))
        assert drawn.shape == (96, 96)
        assert 0 <= drawn.min() and drawn.max() <= 1 and drawn.any()
        sizes.append((drawn > 0).sum())
    assert area / 4 <= np.median(sizes) <= area * 5 + 60
