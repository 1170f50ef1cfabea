"""The foreground of an object, found without weights."""

import numpy as np
import pytest

from agm_torch.config import GeneratorConfig
from agm_torch.masks.foreground import Foreground, find_foreground
from tests.agm_images import part, texture

CONFIG = GeneratorConfig()


def test_the_foreground_of_a_part_on_a_table_is_the_part():
    image = part(px=96)
    inside, background = find_foreground(image)
    y, x = np.indices((96, 96)) + 0.5
    disc = np.hypot(x - 48, y - 52.8) < 28.8
    overlap = (inside & disc).sum() / (inside | disc).sum()
    assert overlap > 0.9
    assert np.abs(background - image)[~disc].mean() < 6
    (region,) = Foreground(CONFIG).regions(image, "disc")
    assert region.how == "foreground"


@pytest.mark.parametrize("image", [np.full((64, 64, 3), 128, np.uint8), texture()])
def test_an_empty_or_full_foreground_falls_back_to_the_whole_image(image):
    (region,) = Foreground(CONFIG).regions(image, "sheet")
    assert region.is_whole
    assert region.how == "whole image, no foreground found"
