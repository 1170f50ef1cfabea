"""A backbone's architecture as text, and its default stages."""

import pytest

from lfq_jax.backbones import (
    default_stages,
    detector_stages,
    network_as_text,
    network_from_text,
)
from lfq_jax.backbones.dinov2 import VisionTransformer
from lfq_jax.backbones.efficientnet import EfficientNetLite
from lfq_jax.backbones.resnet import ResNet
from lfq_jax.backbones.squeezenet import SqueezeNet

WIDE = ResNet((3, 4, 6, 3), is_bottleneck=True, width=128)
DINO = VisionTransformer(384, 12, 37, antialias=False)


@pytest.mark.parametrize("network", [SqueezeNet(), WIDE, DINO], ids=lambda n: n.name)
def test_an_architecture_is_equal_after_writing_and_reading_text(network):
    again = network_from_text(network_as_text(network))
    assert again == network
    assert hash(again) == hash(network)
    assert again.stages == network.stages


def test_a_kind_or_field_of_another_version_is_refused():
    with pytest.raises(ValueError, match=r"SqueezeNet, ResNet, .*, got Inception"):
        network_from_text('{"kind": "Inception"}')
    with pytest.raises(ValueError, match="another version"):
        network_from_text('{"kind": "SqueezeNet", "width": 2}')


def test_default_stages_have_the_middle_and_coarse_strides():
    assert default_stages(SqueezeNet()) == ("fire5", "fire6", "fire9")
    assert default_stages(WIDE) == ("layer2", "layer3")
    assert default_stages(EfficientNetLite(0)) == ("stage3", "stage5")
    assert default_stages(DINO) == ("upper_half",)


def test_detector_stages_have_a_fine_one_as_well():
    assert detector_stages(SqueezeNet()) == ("fire3", "fire5", "fire6", "fire9")
    assert detector_stages(WIDE) == ("layer1", "layer2", "layer3")
    lite = detector_stages(EfficientNetLite(0))
    assert lite == ("stage2", "stage3", "stage4", "stage5")
    assert detector_stages(DINO) == ("upper_half",)
