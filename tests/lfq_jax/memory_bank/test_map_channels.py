"""The channels that are announced are those that are computed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.backbones import load_backbone, network_as_text
from lfq_jax.config import (
    AugmentConfig,
    BackboneConfig,
    FeatureAutoencoderConfig,
    MemoryBankConfig,
    ModelConfig,
)
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.map_channels import (
    MapChannels,
    are_of_filters,
    map_channels,
)
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.leave_one_out import leave_one_out
from lfq_jax.training.random_streams import random_streams
from tests.tiny_encoder import write_squeezenet

CONFIG = MemoryBankConfig(levels=2, patches=64, window=1, poses=0)
MODEL = ModelConfig(
    image_px=64,
    stem=8,
    reconstructive_widths=(4, 4),
    discriminative_widths=(4, 4),
    memory_bank=CONFIG,
)


def _channels(maps) -> MapChannels:
    return MapChannels(*(field.shape[-1] for field in maps))


@pytest.mark.parametrize(
    ("is_texture", "has_backbone", "residuals"),
    [
        (True, False, ()),
        (False, False, ()),
        (False, True, ()),
        (True, True, ("subspace", "reconstruction")),
        (False, True, ("reconstruction",)),
    ],
)
def test_distance_maps_have_the_announced_channels(
    is_texture, has_backbone, residuals, tmp_path
):
    config, backbone = CONFIG, None
    if has_backbone:
        path = write_squeezenet(tmp_path / "weights.npz")
        backbone = load_backbone(path)
        text = network_as_text(backbone.network)
        stages = ("fire3", "fire5")
        config = dataclasses.replace(
            CONFIG,
            backbone=BackboneConfig(path, text, stages, reconstructed=3),
            residuals=residuals,
            reconstruction_weight=float("reconstruction" in residuals),
            autoencoder=FeatureAutoencoderConfig(hidden=8, steps=2),
        )
    model = Model(dataclasses.replace(MODEL, memory_bank=config), is_texture=is_texture)
    shots = np.random.default_rng(0).integers(90, 150, (2, 64, 64, 3), np.uint8)
    others = leave_one_out(
        fit_feature_extractor(shots, config, stride=8, backbone=backbone),
        shots,
        model=model,
        augment=AugmentConfig(),
        streams=random_streams(0),
    )
    expected = map_channels(config, is_texture=is_texture)
    assert model.map_channels == expected
    assert expected.features == (6 if has_backbone else 0)
    assert expected.orientation == is_texture
    assert expected.deepest == has_backbone
    assert expected.reconstruction == ("reconstruction" in residuals)
    if has_backbone:
        weighed = dataclasses.replace(config, residuals=(), reconstruction_weight=0.5)
        found = map_channels(weighed, is_texture=is_texture).reconstruction
        assert found == (not is_texture)
    # fire5 is the only coarse stage.
    without = map_channels(
        dataclasses.replace(config, residuals=()), is_texture=is_texture
    )
    assert expected.distances == without.distances + len(residuals)
    in_training = others.held_out_variations(
        2, jax.random.key(0), for_steps=True
    ).distance_maps
    assert _channels(in_training) == expected
    in_scoring = jax.eval_shape(
        lambda bank, images: distance_maps_of(bank, images, config, stride=8),
        others.full_bank(0),
        jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32),
    )
    assert _channels(in_scoring) == expected._replace(clean_features=0)


def test_channels_of_the_filter_bank_are_known_among_the_others(tmp_path):
    path = write_squeezenet(tmp_path / "weights.npz")
    text = network_as_text(load_backbone(path).network)
    backbone = BackboneConfig(path, text, ("fire3", "fire5"))
    config = MemoryBankConfig(backbone=backbone)
    coarse, filters, fine = [False], [True] * 3, [False]
    assert are_of_filters(config, is_texture=False) == coarse + filters + fine
    assert are_of_filters(config, is_texture=True) == filters + coarse
    more = dataclasses.replace(config, residuals=("subspace",))
    assert are_of_filters(more, is_texture=True) == [*filters, *coarse, False]
    alone = dataclasses.replace(config, levels_beside_backbone=0)
    assert are_of_filters(alone, is_texture=False) == coarse + fine
    assert are_of_filters(CONFIG, is_texture=True) == [True] * 6


def test_without_a_memory_bank_there_are_no_channels():
    assert map_channels(None, is_texture=True) == (0, 0, 0, 0, 0, 0)
