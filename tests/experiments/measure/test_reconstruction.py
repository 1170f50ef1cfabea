"""Measurements of reconstructions, computed by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets.example import Example
from datasets.framing import Framing
from experiments.measure.reconstruction import (
    fidelity,
    shortcut,
    survival,
    training_images,
)
from lfq_jax.inference.predictor import Reconstruction
from lfq_jax.training.data import Photographs


def test_psnr_and_ssim_are_means_over_good_and_over_defective_images():
    images = np.full((3, 16, 16, 3), 0.5, np.float32)
    reconstructions = images.copy()
    reconstructions[0] += 0.1  # 20 dB
    reconstructions[1] += 0.01  # 40 dB
    found = Reconstruction(images, reconstructions, np.zeros(0))
    figures = fidelity(found, np.array([0, 0, 1]))
    assert figures["psnr_good"] == pytest.approx(30.0, abs=1e-3)
    assert figures["psnr_defective"] == pytest.approx(100.0)
    assert figures["ssim_defective"] == pytest.approx(1.0, abs=1e-6)
    assert fidelity(found, np.array([0, 0, 0]))["psnr_defective"] is None


def test_errors_are_measured_inside_and_outside_of_defects():
    images = np.zeros((2, 4, 4, 3), np.float32)
    masks = np.zeros((2, 4, 4), bool)
    masks[1, :2, :2] = True
    reconstructions = np.full_like(images, 0.1)
    reconstructions[1, :2, :2] = 0.4
    found = Reconstruction(images, reconstructions, np.zeros(0))
    figures = shortcut(found, masks)
    assert figures["error_inside"] == pytest.approx(0.16)
    assert figures["error_outside"] == pytest.approx(0.01)
    assert figures["error_ratio"] == pytest.approx(16.0, rel=1e-4)
    assert figures["error_pixel_auroc"] == pytest.approx(1.0)
    without = shortcut(found, np.zeros_like(masks))
    assert without["error_inside"] is None
    assert without["error_pixel_auroc"] is None


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_survival_is_the_share_of_a_defect_that_the_reconstruction_shows(
    share, expected
):
    rng = np.random.default_rng(0)
    normals = rng.integers(0, 200, (2, 8, 8, 3)).astype(np.uint8)
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[:, 2:5, 3:6] = 1
    sources = np.array([0, 1, 1], np.int32)
    images = normals[sources] + 50 * masks[..., None]

    def partly_repaired(shown):
        """Reconstructions that keep `share` of a defect, at low contrast."""
        unit = shown / np.float32(255)
        plain = normals[sources if len(shown) == 3 else [0, 1]] / np.float32(255)
        return Reconstruction(unit, 0.3 * plain + share * (unit - plain), np.zeros(0))

    held_out = Photographs(normals, images, masks, sources)
    predictor: Any = SimpleNamespace(reconstruct=partly_repaired)
    assert survival(predictor, held_out) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(80, 200), (100, 100), (200, 80), (83, 195)])
@pytest.mark.parametrize("fit", ["proportion", "square"])
def test_masks_stay_on_the_defects_in_images_of_the_training_size(shape, fit):
    mask = np.zeros(shape, bool)
    mask[shape[0] // 2 : shape[0] // 2 + 20, shape[1] // 3 : shape[1] // 3 + 20] = True
    image = np.where(mask[..., None], 255, 60).repeat(3, -1).astype(np.uint8)
    example = Example("a", "strip", "object", "hole", image, mask, 1, "0" * 64)
    size = (64, 64) if fit == "square" else (40, 96)
    images, masks = training_images([example], Framing(size, 8, False, fit))
    assert images.shape[1:] == (*size, 3)
    bright = images[0].mean(-1) > 157
    assert masks[0].sum() > 10
    # Where the two differ, the pixel lies on the edge of the defect.
    edge = np.pad(masks[0], 1)
    around = [
        edge[i : i + size[0], j : j + size[1]] for i in range(3) for j in range(3)
    ]
    near = np.any(around, axis=0) & ~np.all(around, axis=0)
    assert not (bright ^ masks[0])[~near].any()
