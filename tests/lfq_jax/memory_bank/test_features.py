"""A pretrained network in the comparison with the shots, on random weights."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.few_shot.backbone_option import add_backbone
from lfq_jax.backbones import default_stages, load_backbone, network_as_text
from lfq_jax.backbones.architecture import network_from_text
from lfq_jax.backbones.squeezenet import SqueezeNet, _kernels
from lfq_jax.config import (
    PRESETS,
    AugmentConfig,
    BackboneConfig,
    FeatureAutoencoderConfig,
    LossConfig,
    MemoryBankConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from lfq_jax.config.memory_bank import Residual
from lfq_jax.memory_bank.bank import build_memory_bank
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.feature_residuals import (
    FeatureResiduals,
    residual_distances,
)
from lfq_jax.memory_bank.features import (
    extract,
    fit_feature_extractor,
    group_sizes_by_source,
)
from lfq_jax.memory_bank.filter_bank import group_sizes
from lfq_jax.memory_bank.logistic_head import BLURS
from lfq_jax.memory_bank.map_channels import are_of_filters, map_channels
from lfq_jax.memory_bank.subspace import Subspace
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.residuals import feature_residual
from lfq_jax.model.scoring import Scorer
from lfq_jax.training.data import Photographs
from lfq_jax.training.prepare import Prepared, prepare
from lfq_jax.training.random_streams import random_streams
from lfq_jax.training.step import Trainer

compiled_extract = jax.jit(extract, static_argnames=("config", "stride"))
compiled_maps = jax.jit(distance_maps_of, static_argnames=("config", "stride"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A file that holds a SqueezeNet of random weights."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, (h, w, inputs, outputs) in _kernels().items():
        kernel = (
            rng.normal(size=(outputs, inputs, h, w)) * (2 / (inputs * h * w)) ** 0.5
        )
        tensors[f"{name}/w"] = kernel.astype(np.float16)
        tensors[f"{name}/b"] = np.zeros(outputs, np.float16)
    path = tmp_path_factory.mktemp("weights") / "random.npz"
    np.savez(path, **tensors)
    return path


def test_stages_of_squeezenet_come_from_both_strides():
    assert default_stages(SqueezeNet()) == ("fire5", "fire6", "fire9")


def test_a_network_survives_being_written_down():
    text = network_as_text(SqueezeNet())
    assert network_from_text(text) == SqueezeNet()
    with pytest.raises(ValueError, match="network must be one of"):
        network_from_text('{"kind": "AlexNet"}')
    with pytest.raises(ValueError, match="another version"):
        network_from_text('{"kind": "SqueezeNet", "depth": 3}')


def test_the_filter_bank_and_each_stage_are_compared_separately(weights):
    backbone = load_backbone(weights)
    text = network_as_text(backbone.network)
    config = MemoryBankConfig(
        levels=2,
        patches=256,
        window=1,
        poses=0,
        backbone=BackboneConfig(weights, text, ("fire3", "fire5"), reconstructed=2),
    )
    # the stages, and the deepest again
    assert group_sizes_by_source(config)[1:] == ((128,), (256,), (256,))
    rng = np.random.default_rng(1)
    shots = rng.integers(90, 150, (2, 64, 64, 3), np.uint8)
    extractor = fit_feature_extractor(shots, config, stride=4, backbone=backbone)
    unit = jnp.asarray(shots) / 255.0
    (filters, fine, coarse, deepest), targets = compiled_extract(
        extractor, unit, config=config, stride=4
    )
    assert fine.shape == (2, 15, 15, 128)
    assert coarse.shape == (2, 7, 7, 256)
    assert deepest.shape == coarse.shape
    smoothness = [np.abs(np.diff(x, axis=1)).mean() for x in (coarse, deepest)]
    assert smoothness[0] < 0.7 * smoothness[1]  # only one is averaged over cells
    for stage in (fine, coarse, deepest):
        lengths = np.linalg.norm(stage, axis=-1)
        np.testing.assert_allclose(lengths, lengths[0, 0, 0], rtol=1e-3)
    # The widest of every stage's components have variance 1 in all, over the shots.
    assert targets.shape == (*filters.shape[:3], 4)
    variance = np.asarray(targets).reshape(-1, 4).var(0)
    np.testing.assert_allclose(variance.reshape(2, 2).sum(1), 1, rtol=0.05)
    for is_texture in (True, False):
        bank = build_memory_bank(
            extractor, list(shots), config, stride=4, is_texture=is_texture, seed=0
        )
        maps = compiled_maps(bank, unit, config=config, stride=4)
        channels = map_channels(config, is_texture=is_texture)
        assert maps.distances.shape[-1] == channels.distances
        assert maps.orientation.shape[-1] == is_texture
        assert maps.features.shape[-1] == 4
        assert maps.deepest.shape[-1] == 1
        if is_texture:  # all patches are in the bank, upright
            assert maps.deepest.max() < 0.05
        if not is_texture:  # in its own place a shot is at no distance from itself
            assert maps.distances[..., -2:].max() < 0.05


def test_a_backbone_alone_gives_the_distances_that_it_gives_beside_the_filter_bank(
    weights,
):
    backbone = load_backbone(weights)
    text = network_as_text(backbone.network)
    both = MemoryBankConfig(
        patches=256,
        window=2,
        rotations=4,
        turns_deg=(),
        backbone=BackboneConfig(weights, text, ("fire3", "fire5"), reconstructed=2),
    )
    alone = dataclasses.replace(both, levels_beside_backbone=0)
    assert group_sizes_by_source(alone) == ((128,), (256,), (256,))
    rng = np.random.default_rng(1)
    shots = rng.integers(90, 150, (2, 64, 64, 3), np.uint8)
    unit = jnp.asarray(shots[::-1]) / 255.0
    maps = []
    for config in (both, alone):
        extractor = fit_feature_extractor(shots, config, stride=4, backbone=backbone)
        bank = build_memory_bank(
            extractor, list(shots[:1]), config, stride=4, is_texture=False, seed=0
        )
        maps.append(compiled_maps(bank, unit, config=config, stride=4))
    groups = len(group_sizes(1))
    # fire5 anywhere, then the filter bank's groups and fire3 in the window
    stages = [0, 1 + groups]
    assert maps[0].distances.shape[-1] == groups + 2
    np.testing.assert_allclose(
        maps[1].distances, maps[0].distances[..., stages], atol=1e-5
    )
    np.testing.assert_array_equal(maps[1].features, maps[0].features)
    np.testing.assert_allclose(maps[1].deepest, maps[0].deepest, atol=1e-5)


def test_coarse_features_are_found_in_a_rotated_shot(weights):
    backbone = load_backbone(weights)
    text = network_as_text(backbone.network)
    config = MemoryBankConfig(
        levels_beside_backbone=0,
        rotations=4,
        backbone=BackboneConfig(weights, text, ("fire5",), reconstructed=0),
    )
    shot = np.random.default_rng(1).integers(0, 255, (1, 64, 64, 3), np.uint8)
    turned = jnp.asarray(np.rot90(shot[0]).copy()[None]) / 255.0
    extractor = fit_feature_extractor(shot, config, stride=4, backbone=backbone)
    distances = []
    for each in (config, dataclasses.replace(config, rotations=1)):
        bank = build_memory_bank(
            extractor, list(shot), each, stride=4, is_texture=False, seed=0
        )
        maps = compiled_maps(bank, turned, config=each, stride=4)
        distances.append(np.asarray(maps.distances))
    assert distances[0].max() < 0.05 < distances[1].mean()


def test_a_missing_backbone_is_refused(weights):
    model = add_backbone(PRESETS["cpu"].model, weights)
    assert model.memory_bank is not None
    shots = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="needs the backbone's weights"):
        fit_feature_extractor(shots, model.memory_bank, stride=4)


def test_the_feature_residual_has_a_channel_for_each_stage():
    features = jnp.zeros((1, 4, 4, 5)).at[0, 1, 2, 3].set(2.0)
    found = np.array(feature_residual(features, jnp.zeros_like(features), (2, 3)))
    assert found.shape == (1, 4, 4, 2)
    assert found[0, 1, 2, 1] == pytest.approx(2, abs=1e-3)
    found[0, 1, 2, 1] = 0
    assert found.max() < 0.01


def _prepared(
    weights: Path,
    *,
    is_black: bool = False,
    is_texture: bool = False,
    residuals: tuple[Residual, ...] = (),
    reconstruction_weight: float = 0.0,
) -> tuple[Model, Prepared]:
    """A model that reconstructs features, and two prepared parts with an anomaly."""
    backbone = load_backbone(weights)
    text = network_as_text(backbone.network)
    stages = ("fire3", "fire5")
    backbone_config = BackboneConfig(weights, text, stages, reconstructed=4)
    config = ModelConfig(
        image_px=64,
        stem=4,
        reconstructive_widths=(12, 16),
        discriminative_widths=(8, 12),
        discriminator_input="residual",
        kernels="he",
        memory_bank=MemoryBankConfig(
            levels=2,
            patches=64,
            window=0,
            poses=0,
            backbone=backbone_config,
            residuals=residuals,
            reconstruction_weight=reconstruction_weight,
            autoencoder=FeatureAutoencoderConfig(hidden=32, steps=60),
        ),
    )
    model = Model(config, is_texture=is_texture)
    assert model.feature_sizes == (4, 4)
    rng = np.random.default_rng(2)
    normals = np.repeat(rng.integers(40, 210, (2, 8, 8, 3), np.uint8), 8, 1).repeat(
        8, 2
    )
    if is_black:
        normals[:] = 0
    images, masks = normals.copy(), np.zeros((2, 64, 64), np.uint8)
    images[:, 16:32, 16:32], masks[:, 16:32, 16:32] = 255, 1
    data = Photographs(normals, images, masks, np.arange(2, dtype=np.int32))
    preparation = TrainConfig(good_images=2, augment=AugmentConfig(flips="none"))
    prepared = prepare(
        data,
        data,
        model=model,
        config=preparation,
        streams=random_streams(0),
        backbone=backbone,
    )
    return model, prepared


def test_an_image_with_an_anomaly_knows_the_features_of_the_part_without_it(weights):
    model, prepared = _prepared(weights)
    maps = prepared.training.anomalous.distance_maps
    assert [field.shape[-1] for field in maps] == list(model.map_channels)
    assert maps.features.shape[-1] == maps.clean_features.shape[-1] == 8
    features = np.asarray(maps.features, np.float32)
    changed = np.abs(features - np.asarray(maps.clean_features, np.float32)).max(-1)
    assert changed[:, 5:7, 5:7].min() > 2 * changed[:, 14:, 14:].max()
    good = prepared.training.good.distance_maps
    np.testing.assert_array_equal(good.features, good.clean_features)


def test_the_image_score_rises_with_the_distance_by_the_deepest_stage(weights):
    model, prepared = _prepared(weights)
    bank, good = prepared.bank, prepared.training.good
    before = model.config.memory_bank
    assert bank is not None and before is not None
    assert bank.deepest is not None
    variables = model.init(jax.random.key(0))._replace(
        memory_bank=bank, logistic_head=prepared.head
    )
    maps = jax.tree.map(lambda x: x.astype(jnp.float32), good.distance_maps)
    # as far as usual, and farther by one deviation
    deepest = np.full(maps.deepest.shape, np.exp(bank.deepest.mean) - 0.04, np.float32)
    deepest[1] = np.exp(bank.deepest.mean + bank.deepest.deviation) - 0.04
    # Both images have the same distances but those.
    same = jax.tree.map(lambda x: x[:1].repeat(2, 0), maps)._replace(deepest=deepest)
    images = np.asarray(good.images)[:1].repeat(2, 0)

    def scores(weight: float) -> np.ndarray:
        bank_config = dataclasses.replace(before, deepest_weight=weight)
        config = dataclasses.replace(model.config, memory_bank=bank_config)
        scorer = Scorer(Model(config, is_texture=False), ScoreConfig())
        found = scorer(variables, images, same).scores["max"]
        return np.asarray(found, np.float64)

    usual, farther = scores(0.5)
    without = scores(0.0)
    assert without[0] == without[1]
    odds = [x / (1 - x) for x in (without[0], usual, farther)]
    # One deviation above `NEAR`, and two.
    np.testing.assert_allclose(odds[1:], odds[0] * np.exp([0.5, 1.0]), rtol=1e-3)


def test_a_textures_score_has_a_head_with_less_weight_on_the_filter_bank(weights):
    model, prepared = _prepared(weights, is_texture=True)
    head, score_head, config = (
        prepared.head,
        prepared.score_head,
        model.config.memory_bank,
    )
    assert head is not None and score_head is not None and config is not None
    of_filters = are_of_filters(config, is_texture=True)
    fine = np.tile(of_filters, len(BLURS))
    assert 0 < fine.sum() < len(fine)
    share = 1.0 - config.coarse_score_weight
    np.testing.assert_allclose(score_head.weights[fine], share * head.weights[fine])
    variables = model.init(jax.random.key(0))._replace(
        memory_bank=prepared.bank, logistic_head=head
    )
    images = jnp.asarray(prepared.training.anomalous.images, jnp.float32) / 255
    one = model.anomaly_maps(variables, images)
    other = model.anomaly_maps(variables._replace(score_head=score_head), images)
    np.testing.assert_array_equal(one.maps, other.maps)
    assert np.abs(one.score_maps - other.score_maps).max() > 1e-3
    # Objects search their fine features in place, and have one head.
    assert _prepared(weights)[1].score_head is None


def test_an_anomaly_leaves_more_of_the_features_than_the_part_without_it(weights):
    residuals: tuple[Residual, ...] = ("subspace", "reconstruction")
    _, without = _prepared(weights)
    model, prepared = _prepared(weights, residuals=residuals)
    before, after = (
        np.asarray(each.training.anomalous.distance_maps.distances, np.float32)
        for each in (without, prepared)
    )
    np.testing.assert_array_equal(after[..., :-2], before)
    assert model.map_channels.distances == after.shape[-1] == before.shape[-1] + 2
    assert prepared.bank is not None and prepared.bank.residuals is not None
    anomalous = prepared.training.anomalous
    pair = np.stack([anomalous.images[0], anomalous.normals[0]])
    config = model.config.memory_bank
    assert config is not None
    unit = jnp.asarray(pair, jnp.float32) / 255
    maps = compiled_maps(prepared.bank, unit, config, stride=4)
    spoilt, clean = np.asarray(maps.distances[..., -2:])
    # The anomaly covers cells 4 to 7.
    assert (spoilt[5:7, 5:7].min((0, 1)) > 1.3 * clean[5:7, 5:7].max((0, 1))).all()


def test_residuals_are_in_units_of_the_distance_of_two_patches(weights):
    """The distance of a vector from a subspace of none is that from the mean."""
    model, prepared = _prepared(weights, residuals=("subspace",))
    bank, config = prepared.bank, model.config.memory_bank
    assert bank is not None and bank.residuals is not None and config is not None
    assert bank.residuals.subspace is not None
    width = len(bank.residuals.subspace.mean)
    direction = jnp.full(width, width**-0.5)
    whole = Subspace(mean=direction, residual_axes=jnp.eye(width))
    query = jax.random.normal(jax.random.key(0), (3, 4, width))
    query = 4 * query / jnp.linalg.norm(query, axis=-1, keepdims=True)
    by_source = (query, query, query)  # the filter bank, fire3 and fire5
    found = residual_distances(FeatureResiduals(whole), by_source, config)
    expected = jnp.linalg.norm(query - 4 * direction, axis=-1)
    np.testing.assert_allclose(found["subspace"][..., 0], expected, rtol=1e-4)


def test_the_map_rises_with_the_distance_from_the_reconstruction(weights):
    model, prepared = _prepared(weights, reconstruction_weight=0.5)
    bank, before = prepared.bank, model.config.memory_bank
    assert bank is not None and before is not None and bank.reconstruction is not None
    good = np.asarray(prepared.training.good.distance_maps.reconstruction, np.float64)
    statistics = bank.reconstruction
    assert float(statistics.mean) == pytest.approx(good.mean(), abs=1e-4)
    variables = model.init(jax.random.key(0))._replace(
        memory_bank=bank, logistic_head=prepared.head
    )
    maps = jax.tree.map(
        lambda x: x[:1].astype(jnp.float32), prepared.training.good.distance_maps
    )
    usual = jnp.full_like(maps.reconstruction, statistics.mean)
    maps = maps._replace(reconstruction=usual)
    farther = maps._replace(
        reconstruction=usual.at[0, 3, 4].add(2 * statistics.deviation)
    )
    image = jnp.asarray(prepared.training.good.images[:1], jnp.float32) / 255

    def log_odds(maps) -> tuple[np.ndarray, np.ndarray]:
        found = model.anomaly_maps(variables, image, maps)
        of_map, of_score = (
            np.log(np.asarray(x, np.float64) / (1 - np.asarray(x, np.float64)))[0]
            for x in (found.maps, found.score_maps)
        )
        return of_map[::4, ::4], of_score[::4, ::4]

    (at_usual, score), (at_farther, same_score) = log_odds(maps), log_odds(farther)
    np.testing.assert_array_equal(score, same_score)
    change = at_farther - at_usual
    # Half of the mean in the wide surround is subtracted, of one cell in 16 x 16.
    assert change[3, 4] == pytest.approx(0.5 * 2, abs=0.02)
    change[3, 4] = 0
    assert -0.02 < change.min() and change.max() <= 1e-3


@pytest.mark.parametrize("residuals", [(), ("subspace", "reconstruction")])
def test_shots_without_any_texture_give_finite_scores(weights, residuals):
    """All features of a black photograph are equal, so its distances are 0."""
    model, prepared = _prepared(
        weights,
        is_black=True,
        residuals=residuals,
        reconstruction_weight=1.0 if residuals else 0.0,
    )
    assert prepared.bank is not None
    variables = model.init(jax.random.key(0))._replace(
        memory_bank=prepared.bank, logistic_head=prepared.head
    )
    images = np.zeros((2, 64, 64, 3), np.uint8)
    images[1, 20:40, 20:40] = 255
    scores = Scorer(model, ScoreConfig())(variables, images).scores["max"]
    assert np.isfinite(scores).all()
    assert scores[0] < scores[1]


@pytest.mark.slow
def test_the_decoder_learns_the_features_of_the_part_without_its_anomaly(weights):
    model, prepared = _prepared(weights)
    train = TrainConfig(
        batch_size=4,
        log_every=60,
        reconstructive_learning_rate=3e-3,
        anomalous_share=0.5,
        loss=LossConfig(feature_weight=1.0),
        augment=AugmentConfig(flips="none", quarter_turns="never"),
    )
    trainer = Trainer(model, train, steps=120)
    state = trainer.init(jax.random.key(0), prepared.bank)
    losses = []
    for _ in range(2):
        state, interval = trainer.run(state, prepared.training, jax.random.key(1))
        losses.append(float(interval.means["loss/features"]))
    assert losses[1] < 0.7 * losses[0]
