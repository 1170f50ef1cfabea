"""DINOv2 against timm and Hugging Face, with random weights."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)
from lfq_jax.backbones import load_backbone
from lfq_jax.backbones.dinov2 import read_vit
from lfq_jax.backbones.weights_file import Tensors
from tests.tiny_encoder import one_for_all

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTH, BLOCKS, NATIVE_PX = 128, 2, 70
STAGES = ("block1", "block2", "norm")


def _drawn(peer: torch.nn.Module) -> torch.nn.Module:
    """Random weights, none of them so small that it hides a mistake."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in peer.state_dict().items():
        deviation = 0.08 if tensor.ndim > 1 else 0.4
        if "token" in name or "pos" in name:
            deviation = 1.0
        tensor.normal_(0, deviation, generator=generator)
    return peer.eval()


def _timm() -> torch.nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return _drawn(
        VisionTransformer(
            img_size=NATIVE_PX,
            patch_size=14,
            embed_dim=WIDTH,
            depth=BLOCKS,
            num_heads=WIDTH // 64,
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
        )
    )


def _hugging_face() -> torch.nn.Module:
    from transformers import Dinov2Config, Dinov2Model

    return _drawn(
        Dinov2Model(
            Dinov2Config(
                hidden_size=WIDTH,
                num_hidden_layers=BLOCKS,
                num_attention_heads=WIDTH // 64,
                image_size=NATIVE_PX,
                patch_size=14,
            )
        )
    )


def _of_peer(peer: Any, x: torch.Tensor) -> list[np.ndarray]:
    """Every block's patch tokens, and the last block's after the norm."""
    with torch.no_grad():
        if hasattr(peer, "forward_intermediates"):
            final, found = peer.forward_intermediates(x, output_fmt="NLC")
            return [*(t.numpy() for t in found), final[:, 1:].numpy()]
        answer = peer(x, output_hidden_states=True)
    found = [*answer.hidden_states[1:], answer.last_hidden_state]
    return [t[:, 1:].numpy() for t in found]


PEERS = {"timm": _timm, "hugging_face": _hugging_face}


@pytest.mark.parametrize("size", [(70, 70), (42, 98), (112, 84)])
@pytest.mark.parametrize("peer", PEERS)
def test_every_block_equals_the_peer_at_any_grid(
    peer: str, size: tuple[int, int], tmp_path: Path
):
    model = PEERS[peer]()
    safetensors.torch.save_file(model.state_dict(), tmp_path / "v.safetensors")
    encoder = load_backbone(tmp_path / "v.safetensors")
    images = np.random.default_rng(0).random((2, *size, 3)).astype(np.float32)
    see = jax.jit(lambda encoder, x: encoder.features(x, STAGES))
    found = see(encoder, jnp.asarray(images))
    normalised = ((images - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    wanted = _of_peer(model, torch.from_numpy(normalised.astype(np.float32)))
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == (2, size[0] // 14, size[1] // 14, WIDTH)
        assert np.abs(ours.reshape(theirs.shape) - theirs).max() <= 1e-4


def test_sides_that_are_not_multiples_of_14_are_resized(tmp_path: Path):
    safetensors.torch.save_file(_timm().state_dict(), tmp_path / "v.safetensors")
    encoder = load_backbone(tmp_path / "v.safetensors")
    images = jnp.asarray(np.random.default_rng(0).random((1, 64, 50, 3), "f4"))
    (found,) = encoder.features(images, ["norm"])
    resized = jax.image.resize(images, (1, 70, 56, 3), "bilinear")
    (wanted,) = encoder.features(resized, ["norm"])
    assert found.shape == (1, 5, 4, WIDTH)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("timm_name", "width", "name"),
    [
        ("vit_small_patch14_dinov2", 384, "dinov2_vits14"),
        ("vit_base_patch14_dinov2", 768, "dinov2_vitb14"),
    ],
)
def test_published_sizes_have_their_usual_name(timm_name: str, width: int, name: str):
    import timm
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=width,
        num_attention_heads=width // 64,
        image_size=518,
        patch_size=14,
    )
    with torch.device("meta"):
        peers = timm.create_model(timm_name), Dinov2Model(config)
    for peer in peers:
        found = read_vit(one_for_all(peer))
        assert found is not None
        network, _ = found
        assert network.name == name
        assert network.native_patches == 37
        assert network.stages[-1] == ("norm", 14, width)
        assert len(network.stages) == 13


def test_similar_networks_are_refused_with_the_tensor_that_differs():
    import timm

    for name, said in {
        "vit_small_patch14_reg4_dinov2": "reg_token is unknown to .* registers",
        "vit_giant_patch14_dinov2": r"mlp\.fc1\.weight must have shape",
        "vit_small_patch16_224": r"patch_embed\.proj\.weight must have shape",
    }.items():
        with torch.device("meta"):
            peer = timm.create_model(name)
        with pytest.raises(ValueError, match=said):
            read_vit(one_for_all(peer))


def test_positions_that_are_not_a_square_and_odd_widths_are_refused():
    tensors = {
        "blocks.0.attn.qkv.weight": np.zeros((3, 1), np.float32),
        "cls_token": np.zeros((1, 1, 384), np.float32),
        "pos_embed": np.zeros((1, 7, 384), np.float32),
    }
    with pytest.raises(ValueError, match="a square of patches and one, got 384 and 7"):
        read_vit(Tensors(Path("v.safetensors"), tensors))
    tensors["cls_token"] = np.zeros((1, 1, 100), np.float32)
    with pytest.raises(ValueError, match="multiple of 64 channels"):
        read_vit(Tensors(Path("v.safetensors"), tensors))


def test_a_missing_tensor_of_a_block_is_named(tmp_path: Path):
    tensors = _hugging_face().state_dict()
    tensors.pop("encoder.layer.1.layer_scale2.lambda1")
    safetensors.torch.save_file(tensors, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match=r"layer\.1\.layer_scale2\.lambda1"):
        load_backbone(tmp_path / "v.safetensors")
