"""SqueezeNet against torchvision's, with random weights and both sets of names."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)
from lfq_jax.backbones import load_backbone

STAGES = tuple(f"fire{fire}" for fire in range(2, 10))
IN_TORCHVISION = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
LAYERS = {
    "squeeze1x1": "squeeze",
    "expand1x1": "expand1x1",
    "expand3x3": "expand3x3",
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def peer() -> torch.nn.Sequential:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    return squeezenet1_1(weights=None).features.eval()


def _tensors(peer: torch.nn.Sequential) -> dict[str, np.ndarray]:
    features = peer.state_dict().items()
    found = {f"features.{name}": tensor.numpy() for name, tensor in features}
    return found | {"classifier.1.bias": np.zeros(1000, np.float32)}


def _as_caffe(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors under Caffe's names, for BGR images."""
    found = {"conv1/w": tensors["features.0.weight"][:, ::-1]}
    found["conv1/b"] = tensors["features.0.bias"]
    for fire, at in IN_TORCHVISION.items():
        for ours, theirs in LAYERS.items():
            found |= _renamed(tensors, f"fire{fire}/{ours}", f"features.{at}.{theirs}")
    return found | {"conv10/w": np.zeros((1000, 512, 1, 1)), "conv10/b": np.zeros(1000)}


def _renamed(tensors: dict, ours: str, theirs: str) -> dict[str, np.ndarray]:
    return {
        f"{ours}/w": tensors[f"{theirs}.weight"],
        f"{ours}/b": tensors[f"{theirs}.bias"],
    }


def _of_peer(peer: torch.nn.Sequential, normalised: np.ndarray) -> list[np.ndarray]:
    x = torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32))
    found = []
    with torch.no_grad():
        for at, module in enumerate(peer):
            x = module(x)
            if at in IN_TORCHVISION.values():
                found.append(x.numpy().transpose(0, 2, 3, 1))
    return found


def _images(height: int, width: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).random((2, height, width, 3), "f4"))


# At 128 px all pooling windows are complete; at 131 and 90 px the last ones are not.
@pytest.mark.parametrize("size", [(128, 128), (131, 90)])
def test_every_stage_equals_torchvision(
    peer: torch.nn.Sequential, size: tuple[int, int], tmp_path: Path
):
    safetensors.numpy.save_file(_tensors(peer), tmp_path / "s.safetensors")
    encoder = load_backbone(tmp_path / "s.safetensors")
    images = _images(*size)
    found = jax.jit(lambda e, x: e.features(x, STAGES))(encoder, images)
    wanted = _of_peer(peer, (np.asarray(images) - MEAN) / DEVIATION)
    for stage, ours, theirs in zip(encoder.stages, found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours.shape[-1] == stage.channels
        assert np.abs(ours - theirs).max() <= 1e-4


def test_caffe_weights_get_bgr_bytes_minus_the_mean(
    peer: torch.nn.Sequential, tmp_path: Path
):
    tensors = _tensors(peer)
    caffe = _as_caffe(tensors)
    caffe["conv1/w"] = caffe["conv1/w"] / 64  # so that the values equal the peer's
    np.savez(tmp_path / "s.npz", allow_pickle=False, **caffe)
    images = _images(96, 96)
    found = load_backbone(tmp_path / "s.npz").features(images, ["fire3", "fire9"])
    normalised = (np.asarray(images) * 255 - (123.0, 117.0, 104.0)) / 64
    wanted = _of_peer(peer, normalised)
    for ours, theirs in zip(found, (wanted[1], wanted[-1]), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-4


def test_stages_are_returned_in_the_order_named_and_later_ones_are_not_computed(
    peer: torch.nn.Sequential, tmp_path: Path
):
    safetensors.numpy.save_file(_tensors(peer), tmp_path / "s.safetensors")
    encoder = load_backbone(tmp_path / "s.safetensors")
    images = _images(64, 64)
    early, late = (s for s in encoder.stages if s.name in ("fire3", "fire5"))
    found = encoder.features(images, ["fire5", "fire3"])
    assert [f.shape[-1] for f in found] == [late.channels, early.channels]
    program = str(jax.make_jaxpr(lambda x: encoder.features(x, ["fire2"]))(images))
    assert program.count("conv_general_dilated[") == 4


def test_an_empty_list_of_stages_and_an_unknown_stage_are_refused(
    peer: torch.nn.Sequential, tmp_path: Path
):
    safetensors.numpy.save_file(_tensors(peer), tmp_path / "s.safetensors")
    encoder = load_backbone(tmp_path / "s.safetensors")
    with pytest.raises(ValueError, match=r"some of fire2, .* got fire1"):
        encoder.features(_images(32, 32), ["fire1"])
    with pytest.raises(ValueError, match="got none"):
        encoder.features(_images(32, 32), [])
    with pytest.raises(ValueError, match=r"floats in \[0, 1\], got dtype uint8"):
        encoder.features(jnp.zeros((1, 32, 32, 3), jnp.uint8), ["fire3"])
    with pytest.raises(ValueError, match=r"must be \[b H W 3\], got shape"):
        encoder.features(jnp.zeros((32, 32, 3)), ["fire3"])


def test_a_missing_misshapen_or_unknown_tensor_is_named(
    peer: torch.nn.Sequential, tmp_path: Path
):
    path = tmp_path / "s.safetensors"
    tensors = _tensors(peer)
    cases = {
        "lacks the tensor features.12.expand3x3.bias": {"features.12.expand3x3.bias"},
        r"features.0.weight must have shape \(64, 3, 3, 3\), got \(96, 3, 7, 7\)": {},
        "features.13.weight is unknown": {},
    }
    other = [
        {},
        {"features.0.weight": np.zeros((96, 3, 7, 7), np.float32)},
        {"features.13.weight": np.zeros(3, np.float32)},
    ]
    for (message, dropped), more in zip(cases.items(), other, strict=True):
        kept = {n: t for n, t in tensors.items() if n not in dropped} | more
        safetensors.numpy.save_file(kept, path)
        with pytest.raises(ValueError, match=message) as caught:
            load_backbone(path)
        assert str(path) in str(caught.value)


def test_a_non_finite_number_is_refused(peer: torch.nn.Sequential, tmp_path: Path):
    tensors = _tensors(peer)
    tensors["features.3.squeeze.bias"] = np.full(16, np.nan, np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / "s.safetensors")
    with pytest.raises(
        ValueError, match=r"features\.3\.squeeze\.bias must hold finite"
    ):
        load_backbone(tmp_path / "s.safetensors")


def test_strings_instead_of_numbers_are_refused(
    peer: torch.nn.Sequential, tmp_path: Path
):
    caffe = _as_caffe(_tensors(peer))
    caffe["conv1/b"] = np.asarray(["a"] * 64)
    np.savez(tmp_path / "s.npz", allow_pickle=False, **caffe)
    with pytest.raises(ValueError, match="conv1/b must hold finite numbers"):
        load_backbone(tmp_path / "s.npz")
