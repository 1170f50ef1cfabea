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
from lfq_jax.backbones import load_backbone, network_from_text
from lfq_jax.backbones.dinov2 import _HUGGING_FACE, _TIMM, _network, read_vit
from lfq_jax.backbones.published import PUBLISHED
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


def _timm(**options: Any) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    return _drawn(
        VisionTransformer(
            img_size=NATIVE_PX,
            patch_size=14,
            embed_dim=WIDTH,
            depth=options.pop("depth", BLOCKS),
            num_heads=WIDTH // 64,
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
            **options,
        )
    )


def _timm_registers() -> torch.nn.Module:
    return _timm(reg_tokens=4, no_embed_class=True)


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


def _hugging_face_registers() -> torch.nn.Module:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    return _drawn(
        Dinov2WithRegistersModel(
            Dinov2WithRegistersConfig(
                hidden_size=WIDTH,
                num_hidden_layers=BLOCKS,
                num_attention_heads=WIDTH // 64,
                image_size=NATIVE_PX,
                patch_size=14,
                num_register_tokens=4,
            )
        )
    )


def _of_peer(peer: Any, x: torch.Tensor, first: int) -> list[np.ndarray]:
    """Every block's patch tokens, and the last block's after the norm.

    Args:
      first: number of tokens before the patches.
    """
    with torch.no_grad():
        if hasattr(peer, "forward_intermediates"):
            final, found = peer.forward_intermediates(x, output_fmt="NLC")
            return [*(t.numpy() for t in found), final[:, first:].numpy()]
        answer = peer(x, output_hidden_states=True)
    found = [*answer.hidden_states[1:], answer.last_hidden_state]
    return [t[:, first:].numpy() for t in found]


PEERS = {
    "timm": _timm,
    "timm, registers": _timm_registers,
    "hugging_face": _hugging_face,
    "hugging_face, registers": _hugging_face_registers,
}


@pytest.mark.parametrize("size", [(70, 70), (42, 112)])
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
    first = 5 if "registers" in peer else 1
    wanted = _of_peer(model, torch.from_numpy(normalised.astype(np.float32)), first)
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


def test_the_upper_half_is_the_mean_of_its_blocks_after_the_final_norm(tmp_path: Path):
    """Of three blocks, the last two."""
    model = _timm(depth=3)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "v.safetensors")
    encoder = load_backbone(tmp_path / "v.safetensors")
    assert encoder.network.default_stages == ("upper_half",)
    images = np.random.default_rng(0).random((1, 42, 42, 3)).astype(np.float32)
    see = jax.jit(lambda encoder, x: encoder.features(x, ["upper_half"]))
    (found,) = see(encoder, jnp.asarray(images))
    normalised = ((images - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    x = torch.from_numpy(normalised.astype(np.float32))
    with torch.no_grad():
        _, each = model.forward_intermediates(x, output_fmt="NLC", norm=True)
    wanted = torch.stack(each[1:]).mean(0).numpy()
    assert np.abs(found.reshape(wanted.shape) - wanted).max() <= 1e-4


@pytest.mark.parametrize(
    ("timm_name", "name"),
    [
        ("vit_small_patch14_dinov2", "dinov2_vits14"),
        ("vit_base_patch14_dinov2", "dinov2_vitb14"),
        ("vit_large_patch14_dinov2", "dinov2_vitl14"),
        ("vit_small_patch14_reg4_dinov2", "dinov2_vits14_reg"),
        ("vit_base_patch14_reg4_dinov2", "dinov2_vitb14_reg"),
        ("vit_large_patch14_reg4_dinov2", "dinov2_vitl14_reg"),
    ],
)
def test_published_sizes_have_their_usual_name(timm_name: str, name: str):
    import timm

    with torch.device("meta"):
        in_timm: Any = timm.create_model(timm_name)
        in_hub = _published_in_hub(in_timm.embed_dim, len(in_timm.blocks), name)
    for peer, names in ((in_timm, _TIMM), (in_hub, _HUGGING_FACE)):
        network = _network(one_for_all(peer), names)
        assert network.name == name
        assert network.native_patches == 37
        assert network.stages[-2] == ("norm", 14, in_timm.embed_dim)
        assert len(network.stages) == len(in_timm.blocks) + 2
        if network.width == 384:  # the larger ones take a second each
            assert read_vit(one_for_all(peer))
    assert network == network_from_text(PUBLISHED[name].architecture)


def _published_in_hub(width: int, blocks: int, name: str) -> torch.nn.Module:
    """The network whose file the table has, without weights."""
    import transformers

    with_registers = "WithRegisters" if name.endswith("_reg") else ""
    config = getattr(transformers, f"Dinov2{with_registers}Config")(
        hidden_size=width,
        num_attention_heads=width // 64,
        num_hidden_layers=blocks,
        image_size=518,
        patch_size=14,
    )
    return getattr(transformers, f"Dinov2{with_registers}Model")(config)


def test_the_authors_names_of_registers_are_read(tmp_path: Path):
    """Their positions include the class token's, as Hugging Face's do."""
    tensors = _timm_registers().state_dict()
    tensors["register_tokens"] = tensors.pop("reg_token")
    first = torch.randn(1, 1, WIDTH)
    tensors["pos_embed"] = torch.cat([first, tensors["pos_embed"]], dim=1)
    safetensors.torch.save_file(tensors, tmp_path / "v.safetensors")
    encoder = load_backbone(tmp_path / "v.safetensors")
    tensors["reg_token"] = tensors.pop("register_tokens")
    tensors["cls_token"] = tensors["cls_token"] + first
    tensors["pos_embed"] = tensors["pos_embed"][:, 1:].clone()
    safetensors.torch.save_file(tensors, tmp_path / "t.safetensors")
    as_timm = load_backbone(tmp_path / "t.safetensors")
    assert encoder.network == as_timm.network
    for name in ("registers", "positions"):
        np.testing.assert_array_equal(encoder.arrays[name], as_timm.arrays[name])
    first, wanted = (
        each.arrays["class_token"] + each.arrays["class_position"]
        for each in (encoder, as_timm)
    )
    np.testing.assert_allclose(first, wanted, atol=1e-6)


def test_similar_networks_are_refused_with_the_tensor_that_differs():
    import timm

    for name, said in {
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
    with pytest.raises(ValueError, match="a square of patches and 1 more, got 384"):
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
