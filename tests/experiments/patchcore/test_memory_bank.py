"""PatchCore compared with plain numpy, and properties that hold for any backbone."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from datasets.framing import Framing
from experiments.patchcore.memory_bank import (
    PatchMemory,
    View,
    default_stages,
    patch_features,
    predict_patches,
    remember,
)
from lfq_jax.backbones import Backbone, load_backbone
from tests.tiny_detector import part
from tests.tiny_encoder import write_squeezenet

VIEW = View(("fire5", "fire9"))
FRAMING = Framing((64, 64), 1, is_texture=True)
UNSMOOTHED: dict[str, Any] = {"neighbours": 4, "framing": FRAMING}
SCORING: dict[str, Any] = {**UNSMOOTHED, "sigma_px": 4.0}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(write_squeezenet(tmp_path_factory.mktemp("w") / "s.npz"))


def _bank(encoder: Backbone, share: float = 1.0) -> PatchMemory:
    shots = [part(0, px=64), part(1, px=64)]
    return remember(encoder, shots, VIEW, framing=FRAMING, share=share, seed=0)


def test_the_default_stages_are_the_last_of_strides_8_and_16(encoder: Backbone):
    assert default_stages(encoder) == ("fire5", "fire9")


def _numpy_means(encoder: Backbone, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over 3x3 cells, without those outside, for both stages."""
    fine, coarse = encoder.features(jnp.asarray(image[None] / 255.0), VIEW.stages)
    means = []
    for x in (np.asarray(fine[0]), np.asarray(coarse[0])):
        h, w, _ = x.shape
        windows = [
            x[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean((0, 1))
            for i in range(h)
            for j in range(w)
        ]
        means.append(np.stack(windows).reshape(x.shape))
    return means[0], means[1]


def test_features_are_means_of_3x3_cells_at_the_finest_grid(encoder: Backbone):
    image = part(0, px=64)
    fine, coarse = _numpy_means(encoder, image)
    found = np.asarray(patch_features(encoder, jnp.asarray(image[None] / 255.0), VIEW))
    assert found.shape == (1, *fine.shape[:2], fine.shape[-1] + coarse.shape[-1])
    np.testing.assert_allclose(found[0, ..., : fine.shape[-1]], fine, atol=1e-5)
    corner = found[0, 0, 0, fine.shape[-1] :]
    np.testing.assert_allclose(corner, coarse[0, 0], atol=1e-5)


def test_with_unit_length_every_stage_has_the_same_weight(encoder: Backbone):
    image = jnp.asarray(part(0, px=64)[None] / 255.0)
    found = patch_features(encoder, image, VIEW._replace(unit_length=True))
    fine = np.linalg.norm(np.asarray(found)[..., :256], axis=-1)
    np.testing.assert_allclose(fine, 1.0, atol=1e-3)


def test_a_share_of_1_keeps_every_patch(encoder: Backbone):
    whole, part_of_it = _bank(encoder), _bank(encoder, 0.25)
    cells = patch_features(encoder, jnp.zeros((1, 64, 64, 3)), VIEW).shape[1:3]
    assert len(whole.patches) == 2 * cells[0] * cells[1]
    assert len(part_of_it.patches) == round(0.25 * len(whole.patches))


def test_a_stored_image_has_a_small_score_and_a_spot_is_located(encoder: Backbone):
    memory = _bank(encoder)
    images = [part(0, px=64), part(0, px=64, spot=True)]
    same, spotted = predict_patches(memory, images, VIEW, **SCORING)
    assert same.map.shape == (64, 64)
    assert same.scores["max"] < 0.05 * spotted.scores["max"]
    row, column = np.unravel_index(spotted.map.argmax(), spotted.map.shape)
    assert 12 <= row < 36
    assert 12 <= column < 36


def test_scores_equal_the_papers_equations(encoder: Backbone):
    memory = _bank(encoder)
    image = part(5, px=64, spot=True)
    (found,) = predict_patches(memory, [image], VIEW, **SCORING)
    features = patch_features(encoder, jnp.asarray(image[None] / 255.0), VIEW)
    patches = np.asarray(memory.patches, np.float64)
    flat = np.asarray(features[0], np.float64).reshape(-1, patches.shape[1])
    distances = np.linalg.norm(flat[:, None] - patches, axis=-1)
    farthest = distances.min(1).argmax()
    largest, nearest = distances[farthest].min(), distances[farthest].argmin()
    to_nearest = np.linalg.norm(patches - patches[nearest], axis=-1)
    to_nearest[nearest] = -1  # its own first neighbour, even among equal patches
    neighbours = to_nearest.argsort()[:4]
    to_neighbours = np.exp(distances[farthest][neighbours])
    weight = 1 - np.exp(largest) / to_neighbours.sum()
    assert found.scores["max"] == pytest.approx(largest, rel=1e-3)
    assert found.scores["reweighted"] == pytest.approx(weight * largest, rel=1e-3)


def test_smoothing_keeps_the_mean_of_a_map_and_lowers_its_peak(encoder: Backbone):
    memory, image = _bank(encoder), part(3, px=64, spot=True)
    sharp, soft = (
        next(predict_patches(memory, [image], VIEW, **UNSMOOTHED, sigma_px=sigma))
        for sigma in (0.0, 4.0)
    )
    assert soft.map.max() < sharp.map.max()
    assert soft.map.mean() == pytest.approx(sharp.map.mean(), rel=0.05)
    assert soft.scores == sharp.scores


def test_an_image_of_another_proportion_has_a_size_of_its_own(encoder: Backbone):
    wide = np.tile(part(0, px=64), (1, 2, 1))
    wide[16:32, 80:96] = 255
    (found,) = predict_patches(_bank(encoder), [wide], VIEW, **SCORING)
    height, width = found.map.shape
    assert height * width <= 64 * 64
    assert 1.7 < width / height < 2.4
    # The backbone pads nothing: its few cells lie towards the middle.
    assert found.map[:, width // 2 :].max() > 1.2 * found.map[:, : width // 2].max()


def test_what_is_filled_counts_in_no_score(encoder: Backbone):
    memory, narrow = _bank(encoder), part(5, px=64)[:, :16]
    (found,) = predict_patches(memory, [narrow], VIEW, **UNSMOOTHED, sigma_px=0.0)
    frame = FRAMING.frame(narrow.shape)
    assert not frame.is_whole
    assert found.map.shape == (frame.height, frame.width)
    image = FRAMING.put(narrow, frame)
    features = patch_features(encoder, jnp.asarray(image[None] / 255.0), VIEW)[0]
    flat = np.asarray(features).reshape(-1, 1, features.shape[-1])
    distances = np.linalg.norm(flat - np.asarray(memory.patches), axis=-1).min(1)
    centres = [
        ((np.arange(cells) + 0.5) * side / cells).astype(int)
        for cells, side in zip(features.shape[:2], frame.size, strict=True)
    ]
    inside = frame.inside[np.ix_(*centres)].ravel()
    assert 0 < inside.sum() < inside.size
    assert found.scores["max"] == pytest.approx(distances[inside].max(), rel=1e-3)
