"""DINOv3 against Hugging Face's module, with random weights."""

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
from lfq_jax.backbones.dinov3 import read_rotary
from lfq_jax.backbones.published import PUBLISHED
from tests.tiny_encoder import one_for_all

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTH, BLOCKS, REGISTERS = 128, 2, 4
STAGES = ("block1", "block2", "norm", "upper_half")


def _peer(width: int = WIDTH, blocks: int = BLOCKS, **options) -> torch.nn.Module:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    return DINOv3ViTModel(
        DINOv3ViTConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=blocks,
            num_attention_heads=width // 64,
            num_register_tokens=REGISTERS,
            **options,
        )
    )


def _drawn() -> torch.nn.Module:
    """Random weights, none of them so small that it hides a mistake."""
    generator = torch.Generator().manual_seed(0)
    peer = _peer()
    for name, tensor in peer.state_dict().items():
        deviation = 0.08 if tensor.ndim > 1 else 0.4
        tensor.normal_(0, 1.0 if "token" in name else deviation, generator=generator)
    return peer.eval()


def _of_peer(peer: Any, images: np.ndarray) -> list[np.ndarray]:
    """The patch tokens of every stage."""
    normalised = ((images - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    found: list[torch.Tensor] = []
    for layer in peer.layer:
        layer.register_forward_hook(lambda _module, _inputs, out: found.append(out))
    with torch.no_grad():
        final = peer(torch.from_numpy(normalised.astype(np.float32)))
        found.append(final.last_hidden_state)
    found.append(final.last_hidden_state)  # of two blocks, the second is the upper half
    return [tokens[:, 1 + REGISTERS :].numpy() for tokens in found]


@pytest.mark.parametrize("size", [(64, 64), (48, 112)])
def test_every_stage_equals_the_peer_at_any_grid(size: tuple[int, int], tmp_path: Path):
    model = _drawn()
    safetensors.torch.save_file(model.state_dict(), tmp_path / "v.safetensors")
    encoder = load_backbone(tmp_path / "v.safetensors")
    images = np.random.default_rng(0).random((2, *size, 3)).astype(np.float32)
    see = jax.jit(lambda encoder, x: encoder.features(x, STAGES))
    found = see(encoder, jnp.asarray(images))
    for ours, theirs in zip(found, _of_peer(model, images), strict=True):
        assert ours.shape == (2, size[0] // 16, size[1] // 16, WIDTH)
        assert np.abs(ours.reshape(theirs.shape) - theirs).max() <= 1e-4


@pytest.mark.parametrize(
    ("name", "width"), [("dinov3_vits16", 384), ("dinov3_vitb16", 768)]
)
def test_published_sizes_have_their_usual_name(name: str, width: int):
    with torch.device("meta"):
        peer = _peer(width, 12)
    found = read_rotary(one_for_all(peer))
    assert found is not None
    network, arrays = found
    assert network.name == name
    assert network == network_from_text(PUBLISHED[name].architecture)
    assert network.stages[-1] == ("upper_half", 16, width)
    assert not arrays["block1/qkv/bias"][width : 2 * width].any()  # keys have no bias


def test_a_gated_network_is_refused_with_the_tensor_that_differs():
    with torch.device("meta"):
        peer = _peer(use_gated_mlp=True)
    with pytest.raises(ValueError, match=r"mlp\.gate_proj\.bias is unknown"):
        read_rotary(one_for_all(peer))
