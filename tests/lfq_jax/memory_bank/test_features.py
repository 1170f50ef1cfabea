"""A pretrained network in the comparison with the shots, on random weights."""

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
    LossConfig,
    MemoryBankConfig,
    ModelConfig,
    TrainConfig,
)
from lfq_jax.memory_bank.bank import build_memory_bank
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import extract, fit_feature_extractor, sizes_by_kind
from lfq_jax.memory_bank.layout import channels
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.residuals import feature_residual
from lfq_jax.training.data import Photographs
from lfq_jax.training.leave_one_out import LeaveOneOut
from lfq_jax.training.step import Trainer


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


def test_distances_of_both_kinds_stand_beside_each_other(weights):
    encoder = load_backbone(weights)
    text = network_as_text(encoder.network)
    config = MemoryBankConfig(
        levels=2,
        patches=256,
        window=1,
        encoder=BackboneConfig(weights, text, ("fire3", "fire5"), reconstructed=2),
    )
    assert sizes_by_kind(config)[1:] == ((128,), (256,))
    rng = np.random.default_rng(1)
    shots = rng.integers(90, 150, (2, 64, 64, 3), np.uint8)
    sight = fit_feature_extractor(shots, config, stride=4, encoder=encoder)
    unit = jnp.asarray(shots) / 255.0
    (filters, fine, coarse), widest = extract(sight, unit, config, stride=4)
    assert fine.shape == (2, 15, 15, 128)
    assert coarse.shape == (2, 7, 7, 256)
    for stage in (fine, coarse):
        lengths = np.linalg.norm(stage, axis=-1)
        np.testing.assert_allclose(lengths, lengths[0, 0, 0], rtol=1e-3)
    # The widest of every stage's components have variance 1 in all, over the shots.
    assert widest.shape == (*filters.shape[:3], 4)
    variance = np.asarray(widest).reshape(-1, 4).var(0)
    np.testing.assert_allclose(variance.reshape(2, 2).sum(1), 1, rtol=0.05)
    for is_texture in (True, False):
        memory = build_memory_bank(
            sight, list(shots), config, stride=4, is_texture=is_texture, seed=0
        )
        found = np.asarray(distance_maps_of(memory, unit, config, stride=4))
        count = channels(config, is_texture=is_texture)
        # behind them how grain runs, of textures, and what the decoder is to give back
        assert found.shape[-1] == count + is_texture + 4
        distances = found[..., :count]
        if not is_texture:  # in its own place a shot is at no distance from itself
            assert distances[..., -2:].max() < 0.05


def test_a_reference_without_the_weights_it_speaks_of_says_so(weights):
    model = add_backbone(PRESETS["cpu"].model, weights)
    assert model.memory_bank is not None
    shots = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="needs the encoder's weights"):
        fit_feature_extractor(shots, model.memory_bank, stride=4)


def test_features_that_the_decoder_does_not_give_back_are_shown_by_stage():
    features = jnp.zeros((1, 4, 4, 5)).at[0, 1, 2, 3].set(2.0)
    found = np.array(feature_residual(features, jnp.zeros_like(features), (2, 3)))
    assert found.shape == (1, 4, 4, 2)
    assert found[0, 1, 2, 1] == pytest.approx(2, abs=1e-3)
    found[0, 1, 2, 1] = 0
    assert found.max() < 0.01


def test_the_decoder_learns_to_give_back_the_features_of_the_part_without_its_anomaly(
    weights,
):
    encoder = load_backbone(weights)
    text = network_as_text(encoder.network)
    of_encoder = BackboneConfig(weights, text, ("fire3", "fire5"), reconstructed=4)
    config = ModelConfig(
        image_px=64,
        stem=4,
        reconstructive_widths=(12, 16),
        discriminative_widths=(8, 12),
        discriminator_input="residual",
        kernels="he",
        memory_bank=MemoryBankConfig(levels=2, patches=64, encoder=of_encoder),
    )
    model = Model(config)
    assert model.feature_sizes == (4, 4)
    rng = np.random.default_rng(2)
    normals = np.repeat(rng.integers(40, 210, (2, 8, 8, 3), np.uint8), 8, 1).repeat(
        8, 2
    )
    images, masks = normals.copy(), np.zeros((2, 64, 64), np.uint8)
    images[:, 16:32, 16:32], masks[:, 16:32, 16:32] = 255, 1
    data = Photographs(normals, images, masks, np.arange(2, dtype=np.int32))
    preparation = LeaveOneOut(config, AugmentConfig(flips="none"), True, 0, encoder)
    prepared = preparation.training(data, good=2)
    known = prepared.anomalous.distance_maps.astype(jnp.float32)
    assert known.shape[-1] == model.reference_channels + 1 + 2 * 8  # 1 of grain
    changed = jnp.abs(model.features(known) - model.normal_features(known)).max(-1)
    assert float(changed[:, 5:7, 5:7].min()) > 2 * float(changed[:, 14:, 14:].max())
    good = prepared.good.distance_maps.astype(jnp.float32)
    np.testing.assert_array_equal(model.features(good), model.normal_features(good))

    train = TrainConfig(
        batch_size=4,
        log_every=60,
        reconstructive_learning_rate=3e-3,
        anomalous_share=0.5,
        loss=LossConfig(feature_weight=1.0),
    )
    trainer = Trainer(model, train, steps=120, is_texture=False)
    state = trainer.init(jax.random.key(0), preparation.memory(normals))
    found = []
    for _ in range(2):
        state, interval = trainer.run(state, prepared, jax.random.key(1))
        found.append(float(interval.figures["loss/features"]))
    assert found[1] < 0.7 * found[0]
