"""The window that a diffusion model is given, and the way back."""

import numpy as np
from PIL import Image

from agm_torch.content.crops import crop_around, cut, latent_mask, paste_back
from agm_torch.scene import Box
from tests.agm_images import texture


def test_a_crop_has_the_images_aspect_ratio_and_holds_the_mask() -> None:
    for box in (Box(0, 40, 300, 320), Box(500, 530, 900, 1010), Box(580, 600, 0, 9)):
        crop = crop_around(box, (600, 1200), scale=2.0, min_px=100, model_px=512)
        window = crop.window
        assert window.top <= box.top and box.bottom <= window.bottom <= 600
        assert window.left <= box.left and box.right <= window.right <= 1200
        height, width = window.shape
        assert abs(width / height - 2) < 0.02 and height >= 100
        assert (crop.height, crop.width) == (360, 728)
        assert abs(crop.height * crop.width / 512**2 - 1) < 0.02


def test_a_mask_as_large_as_the_image_is_not_cropped() -> None:
    crop = crop_around(Box(0, 64, 0, 96), (64, 96), scale=2.0, min_px=16, model_px=64)
    assert crop.window == Box(0, 64, 0, 96)


def test_a_thin_line_is_not_lost_among_the_latents() -> None:
    mask = np.zeros((600, 1200), bool)
    mask[10, 20:900] = True
    crop = crop_around(
        Box(8, 14, 16, 904), (600, 1200), scale=1.0, min_px=16, model_px=64
    )
    latents = latent_mask(mask, crop)
    assert latents.shape == (crop.height // 8, crop.width // 8)
    assert latents.any(axis=0).mean() > 0.9


def test_a_small_mask_is_filled_without_gaps_when_magnified() -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:28, 20:28] = True
    crop = crop_around(
        Box(20, 28, 20, 28), (64, 64), scale=2.0, min_px=16, model_px=512
    )
    latents = latent_mask(mask, crop)
    rows, columns = np.nonzero(latents)
    filled = latents[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert filled.all() and 0.2 < latents.mean() < 0.35


def test_an_unpainted_window_comes_back_unchanged() -> None:
    image = np.asarray(Image.fromarray(texture(px=32)).resize((300, 200)))
    box = Box(80, 110, 120, 160)
    crop = crop_around(box, (200, 300), scale=2.0, min_px=60, model_px=256)
    back = paste_back(np.asarray(cut(image, crop)), crop, box)
    assert back.shape == (30, 40, 3)
    assert np.abs(back - image[box.slices]).mean() < 1.5
