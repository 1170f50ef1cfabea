"""The training-free detectors: features, rotations, and defects they must find."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from datasets.rendered_ad import cloth
from lfq_jax.backbones import default_stages, load_backbone, network_as_text
from lfq_jax.config import (
    BackboneConfig,
    KnnConfig,
    TrainingFreeConfig,
)
from lfq_jax.inference.predictor import Predictor
from lfq_jax.memory_bank.distances import empty_maps
from lfq_jax.memory_bank.map_channels import MapChannels
from lfq_jax.training_free.model import TrainingFree, TrainingFreeVariables
from lfq_jax.training_free.patch_features import (
    fit_patch_extractor,
    patch_features,
    rotated_features,
)
from tests.tiny_detector import part
from tests.tiny_encoder import write_squeezenet
from tests.tiny_training_free import METHODS, PX, config, fitted, fitted_to, record

features_of = jax.jit(patch_features, static_argnums=2)


@pytest.fixture(scope="module")
def on_backbone(tmp_path_factory):
    """A config with a backbone of random weights, and the backbone."""
    path = write_squeezenet(tmp_path_factory.mktemp("w") / "s.npz")
    backbone = load_backbone(path)
    network = network_as_text(backbone.network)
    stages = default_stages(backbone.network)
    named = BackboneConfig(path, network, stages)
    return TrainingFreeConfig(image_px=PX, backbone=named), backbone


def test_features_have_length_1_in_every_cell(on_backbone):
    with_backbone, backbone = on_backbone
    shots = np.stack([part(0, px=PX)])
    images = jnp.asarray(part(5, px=PX)[None] / 255.0, jnp.float32)
    for each, network in ((with_backbone, backbone), (config("knn"), None)):
        extractor = fit_patch_extractor(shots, each, backbone=network)
        found = features_of(extractor, images, each)
        np.testing.assert_allclose(jnp.linalg.norm(found, axis=-1), 1, atol=1e-5)
    assert found.shape[1:3] == (8, 8)  # cells of 8 px


def test_stages_are_joined_on_the_finest_grid_with_equal_weight(on_backbone):
    with_backbone, backbone = on_backbone
    image = part(0, px=PX)
    extractor = fit_patch_extractor(image[None], with_backbone, backbone=backbone)
    images = jnp.asarray(image[None] / 255.0, jnp.float32)
    found = features_of(extractor, images, with_backbone)
    names = with_backbone.backbone.stages
    stages = jax.jit(lambda x: backbone.features(x, names))(images)
    assert found.shape == (1, *stages[0].shape[1:3], sum(x.shape[-1] for x in stages))
    fine = np.linalg.norm(np.asarray(found)[..., : stages[0].shape[-1]], axis=-1)
    # The finest stage is not interpolated, which makes the others a little shorter.
    assert (fine >= 1 / np.sqrt(len(stages)) - 1e-5).all()
    assert fine.max() < 0.7


def test_a_backbones_weights_are_needed(on_backbone):
    with_backbone, _ = on_backbone
    with pytest.raises(ValueError, match="needs the backbone's weights"):
        fit_patch_extractor(np.stack([part(0, px=PX)]), with_backbone)
    with pytest.raises(ValueError, match="one image or more"):
        fit_patch_extractor(np.zeros((0, PX, PX, 3), np.uint8), config("knn"))


def test_rotation_by_0_changes_nothing_and_by_90_permutes_the_cells():
    shot, each = part(0, px=PX), config("knn")
    extractor = fit_patch_extractor(shot[None], each)
    upright, turned = rotated_features(extractor, shot, [0.0, 90.0], each)
    plain = features_of(extractor, jnp.asarray(shot[None] / 255.0, jnp.float32), each)
    np.testing.assert_allclose(upright, plain.reshape(upright.shape), atol=1e-4)
    by_hand = np.ascontiguousarray(np.rot90(shot))
    (expected,) = rotated_features(extractor, by_hand, [0.0], each)
    np.testing.assert_allclose(turned, expected, atol=2e-2)


def test_textures_are_rotated_only_if_the_config_asks_for_it():
    def turns(comparison, *, is_texture: bool) -> int:
        each = dataclasses.replace(config("knn"), comparison=comparison)
        return len(TrainingFree(each, is_texture).turns_deg(seed=0, shot=0))

    assert turns(KnnConfig(), is_texture=True) == 1
    assert turns(KnnConfig(), is_texture=False) == 8
    assert turns(KnnConfig(rotated="all"), is_texture=True) == 8
    subspace = config("subspace").comparison
    assert turns(subspace, is_texture=True) == 4
    assert turns(dataclasses.replace(subspace, rotated="objects"), is_texture=True) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_spot_is_located_and_scores_higher(method):
    predictor = Predictor(record(method))
    images = [part(40, px=PX), part(40, px=PX, spot=True)]
    good, bad = predictor.predict(images)
    for name in ("max", "top_k_mean", "smoothed_max"):
        assert bad.scores[name] > 1.5 * good.scores[name]
    row, column = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 12 <= row < 36 and 12 <= column < 36
    assert bad.reconstruction is None
    assert 0 <= good.map.min() and bad.map.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_defects_of_a_rendered_texture_score_higher_than_its_good_parts(method):
    def cut(number: int, defect: str) -> np.ndarray:
        rng = np.random.default_rng((number, len(defect)))
        image, _ = cloth.render(rng, defect=defect, image_px=PX)
        return np.ascontiguousarray(image)

    trained = fitted_to(np.stack([cut(0, "good"), cut(1, "good")]), method)
    images = [cut(i, "good") for i in (2, 3)] + [cut(i, "hole") for i in (4, 5)]
    scores = trained.scorer(trained.variables, jnp.asarray(np.stack(images))).scores
    values = np.asarray(scores["top_k_mean"])
    assert values[2:].min() > values[:2].max()


def test_what_belongs_to_another_method_or_model_is_refused():
    images = jnp.zeros((1, PX, PX, 3))
    knn = fitted("knn").variables
    assert isinstance(knn, TrainingFreeVariables)
    for method, lacking in (
        ("knn", "patches"),
        ("subspace", "a subspace"),
        ("reconstruction", "an autoencoder"),
    ):
        variables = TrainingFreeVariables(knn.extractor)
        with pytest.raises(ValueError, match=f"{method} needs {lacking}, got none"):
            _traced(method, variables, images)
    maps = jax.tree.map(jnp.asarray, empty_maps((1, 8, 8), MapChannels(), np.float32))
    with pytest.raises(ValueError, match="takes no distance maps"):
        _traced("knn", knn, images, maps)


def _traced(method, *arguments):
    """The shapes of the maps: what is refused is refused without computing."""
    return jax.eval_shape(TrainingFree(config(method)).anomaly_maps, *arguments)


@pytest.mark.parametrize(
    ("comparison", "changes", "said"),
    [
        ("knn", {"rotations": 0}, r"rotations must be in \[1, 360\], got 0"),
        ("knn", {"coreset": 0.0}, r"knn.coreset must be in \(0, 1\], got 0"),
        ("knn", {"patches": -1}, "knn.patches must be at least 0, got -1"),
        ("subspace", {"variance": 1.0}, r"subspace.variance must be in \(0, 1\)"),
        ("reconstruction", {"rotations": 0}, r"rotations must be in \[1, 360\], got 0"),
        ("subspace", {"rotations": -1}, r"rotations must be in \[0, 360\], got -1"),
    ],
)
def test_impossible_settings_are_refused(comparison, changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(config(comparison).comparison, **changes)


def test_the_filter_bank_needs_sides_that_it_can_halve():
    with pytest.raises(ValueError, match="image_px must be a multiple of 8"):
        TrainingFreeConfig(image_px=60)
