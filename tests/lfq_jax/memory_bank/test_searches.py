"""Which features are searched anywhere, and which in their place."""

from pathlib import Path

from lfq_jax.backbones import network_as_text
from lfq_jax.backbones.efficientnet import EfficientNetLite
from lfq_jax.config import BackboneConfig, MemoryBankConfig
from lfq_jax.memory_bank.map_channels import map_channels
from lfq_jax.memory_bank.searches import Search, searches

NETWORK = network_as_text(EfficientNetLite(0))
BACKBONE = BackboneConfig(Path("weights"), NETWORK, ("stage2", "stage3", "stage5"))


def test_without_a_backbone_an_object_is_searched_in_both_ways():
    config = MemoryBankConfig()
    assert searches(config, is_texture=False) == (Search(True, True),)
    assert searches(config, is_texture=True) == (Search(True, False),)


def test_fine_features_of_an_object_are_searched_in_place_and_coarse_ones_anywhere():
    config = MemoryBankConfig(backbone=BACKBONE)
    in_place, coarse = Search(False, True), Search(True, False, rotated=True)
    # the filter bank, three stages, and the deepest again for the image score
    expected = (in_place, in_place, coarse, coarse, coarse)
    assert searches(config, is_texture=False) == expected
    # colour, structure and lines of one octave, and three stages
    assert map_channels(config, is_texture=False).distances == 6


def test_a_texture_has_no_places():
    config = MemoryBankConfig(backbone=BACKBONE)
    nothing, anywhere = Search(False, False), Search(True, False)
    expected = (anywhere, nothing, anywhere, anywhere, anywhere)
    assert searches(config, is_texture=True) == expected
    assert map_channels(config, is_texture=True).distances == 5


def test_the_deepest_stage_is_compared_again_only_if_the_image_score_counts_it():
    off = MemoryBankConfig(backbone=BACKBONE, deepest_weight=0.0)
    assert len(searches(off, is_texture=False)) == 4
    assert map_channels(off, is_texture=False).deepest == 0


def test_an_object_without_a_window_search_has_its_filters_searched_anywhere():
    config = MemoryBankConfig(backbone=BACKBONE, window=0)
    filters, fine, *_ = searches(config, is_texture=False)
    assert filters == Search(True, False, rotated=True)
    assert fine == Search(False, False)
