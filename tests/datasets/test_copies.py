"""Copies are recognised; photographs of different parts are not taken for copies."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets.copies import copies, copy_of, look, named_copies


def photograph(seed: int, side: int = 160) -> np.ndarray:
    """Uneven light on a grained surface, u8[side side 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 200, (9, 9, 3), np.uint8))
    light = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), float)
    return (light + rng.normal(0, 4, light.shape)).clip(0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    side = round(len(image) * factor)
    return np.asarray(Image.fromarray(image).resize((side, side)))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: compressed(image, 95),
        lambda image: compressed(image, 75),
        lambda image: resized(image, 0.5),
        lambda image: resized(image, 1.5),
        lambda image: compressed(resized(image, 0.75), 90),
        lambda image: (image + 2).clip(0, 255).astype(np.uint8),
    ],
)
def test_a_changed_copy_is_near(change):
    others = [look(photograph(seed)) for seed in range(5)]
    copy = look(change(photograph(3)))
    assert copy_of(copy, others) == (3, "near")
    assert copy_of(copy, others, near=False) is None


def test_equal_pixels_are_exact_copies():
    looks = [look(photograph(seed)) for seed in (0, 1, 0, 2, 1, 0)]
    found = copies(looks)
    assert found == {2: (0, "exact"), 4: (1, "exact"), 5: (0, "exact")}
    named = named_copies(found, "abcdef")
    assert named == "c is a (exact), e is b (exact), f is a (exact)"
    assert named_copies(found, "abcdef", shown=1) == "c is a (exact), ..."
    assert copies([]) == {}


def test_different_parts_are_no_copies():
    assert copies(look(photograph(seed)) for seed in range(12)) == {}


def test_another_photograph_of_an_unmoved_part_is_no_copy():
    """The light drifts by one percent from left to right, and the noise is new."""
    part = photograph(0).astype(float)
    drift = np.linspace(0.99, 1.01, part.shape[1])[None, :, None]
    noise = np.random.default_rng(1).normal(0, 3, part.shape)
    again = (part * drift + noise).clip(0, 255).astype(np.uint8)
    assert copies([look(photograph(0)), look(again)]) == {}


def test_evenly_lit_parts_without_structure_are_no_copies():
    """Their coarse versions are alike; their noise is not."""
    flat = [
        np.random.default_rng(seed).normal(128, 3, (400, 400, 3)).astype(np.uint8)
        for seed in range(3)
    ]
    assert copies(map(look, flat)) == {}
    assert copies([look(flat[0]), look(flat[0])]) == {1: (0, "exact")}
    plain = np.full((50, 50, 3), 128, np.uint8)
    assert copies([look(plain), look(plain[:40])]) == {}
