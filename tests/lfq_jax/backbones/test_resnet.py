"""ResNets against torchvision and timm, on random weights and running statistics."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)
from lfq_jax.backbones import load_backbone
from lfq_jax.backbones.resnet import read_resnet
from tests.tiny_encoder import one_for_all

STAGES = ("layer1", "layer2", "layer3", "layer4")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _peer(kind: str) -> torch.nn.Module:
    """A network with few blocks per layer, which has every shape and runs quickly."""
    import timm
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    torch.manual_seed(0)
    if kind == "timm":
        peer = timm.create_model("resnet18", layers=(1, 1, 1, 1))
    elif kind == "basic":
        peer = ResNet(BasicBlock, [2, 1, 1, 1])
    else:
        width = 128 if kind == "wide" else 64
        peer = ResNet(Bottleneck, [2, 1, 1, 1], width_per_group=width)
    for name, tensor in peer.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif "bn" in name or "downsample.1" in name:
            if tensor.is_floating_point():
                tensor.uniform_(-0.3, 0.9)
    return peer.eval()


def _of_peer(peer: torch.nn.Module, images: np.ndarray) -> list[np.ndarray]:
    normalised = ((images - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    found: list[np.ndarray] = []
    for stage in STAGES:
        peer.get_submodule(stage).register_forward_hook(
            lambda _module, _inputs, out: found.append(out.numpy())
        )
    with torch.no_grad():
        peer(torch.from_numpy(normalised.astype(np.float32)))
    return [x.transpose(0, 2, 3, 1) for x in found]


@pytest.mark.parametrize("size", [(64, 96), (77, 51)])
@pytest.mark.parametrize("kind", ["basic", "bottleneck", "wide", "timm"])
def test_every_stage_equals_the_peer(kind: str, size: tuple[int, int], tmp_path: Path):
    peer = _peer(kind)
    safetensors.torch.save_file(peer.state_dict(), tmp_path / "r.safetensors")
    encoder = load_backbone(tmp_path / "r.safetensors")
    images = np.random.default_rng(0).random((2, *size, 3)).astype(np.float32)
    see = jax.jit(lambda encoder, x: encoder.features(x, STAGES))
    found = see(encoder, jnp.asarray(images))
    wanted = _of_peer(peer, images)
    for stage, ours, theirs in zip(encoder.stages, found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours.shape[-1] == stage.channels
        assert np.abs(theirs).max() > 0.1
        assert np.abs(ours - theirs).max() <= 1e-4


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet34", "resnet50", "wide_resnet50_2"]
)
def test_published_sizes_have_their_usual_name(name: str):
    import torchvision

    with torch.device("meta"):
        peer = getattr(torchvision.models, name)(weights=None)
    encoder = read_resnet(one_for_all(peer))
    assert encoder is not None
    network, arrays = encoder
    assert network.name == name
    assert [s.stride for s in network.stages] == [4, 8, 16, 32]
    fourth = peer.fc.in_features
    assert network.stages[-1].channels == fourth
    kernels = [array for path, array in arrays.items() if path.endswith("/kernel")]
    convolutions = [m for m in peer.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(kernels) == len(convolutions)


def test_networks_with_other_blocks_are_refused():
    import timm

    for name, said in {
        "resnet18d": "lacks the tensor conv1.weight",
        "seresnet18": "layer1.0.se.fc1.bias is unknown",
        "resnext50_32x4d": r"layer1.0.conv2.weight must have shape \(128, 128, 3, 3\)",
    }.items():
        with torch.device("meta"):
            peer = timm.create_model(name)
        with pytest.raises(ValueError, match=said):
            read_resnet(one_for_all(peer))


def test_a_missing_layer_is_named(tmp_path: Path):
    tensors = _peer("basic").state_dict()
    kept = {n: t for n, t in tensors.items() if not n.startswith("layer3")}
    safetensors.torch.save_file(kept, tmp_path / "r.safetensors")
    with pytest.raises(ValueError, match=r"lacks the tensor layer3\.0\.conv1\.weight"):
        load_backbone(tmp_path / "r.safetensors")
