"""DINOv3's vision transformers with patches of 16 pixels (Simeoni et al. 2025).

Positions are rotations of queries and keys, so any grid of patches works without a
table of positions. The names are those of Hugging Face's `DINOv3ViTModel`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import DEVIATION, MEAN
from lfq_jax.backbones.transformer import (
    HEAD,
    Rotate,
    Transformer,
    block_maps,
    grid_of,
    patches_of,
)
from lfq_jax.backbones.weights_file import Tensors, imagenet_input

_PATCH_PX = 16
_EPSILON = 1e-5  # epsilon of the layer norms
_PERIOD = 100.0  # largest period of the rotations
_NAMES = {(384, 12): "dinov3_vits16", (768, 12): "dinov3_vitb16"}
_DENSE = {
    "attention": ("attention.o_proj", 1, 1),
    "mlp1": ("mlp.up_proj", 1, 4),
    "mlp2": ("mlp.down_proj", 4, 1),
}
"""Layers with a weight and a bias: the name in the file, inputs and outputs as
multiples of the width."""


@dataclass(frozen=True)
class RotaryTransformer(Transformer):
    """Patches, a class token, registers, and attention with rotary positions.

    An image whose sides are not multiples of 16 is resized to the nearest multiples.
    """

    width: int
    """Channels: 384 in ViT-S, 768 in ViT-B."""
    blocks: int
    registers: int
    """Tokens without a place; 4 in the published weights."""
    patch_px: int = _PATCH_PX

    @property
    def name(self) -> str:
        fallback = f"dinov3_width{self.width}_blocks{self.blocks}"
        return _NAMES.get((self.width, self.blocks), fallback)

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        grid = grid_of(images, self.patch_px)
        patches = patches_of(arrays, images, self.patch_px)
        first = jnp.concatenate([arrays["class_token"], arrays["registers"]])
        first = jnp.broadcast_to(first, (len(images), *first.shape))
        yield from block_maps(
            arrays,
            jnp.concatenate([first, patches], axis=1),
            blocks=self.blocks,
            grid=grid,
            epsilon=_EPSILON,
            rotate=_rotation(*grid),
        )


def _rotation(height: int, width: int) -> Rotate:
    """Rotates the channels of every patch by its place; other tokens stay.

    A quarter of a head's channels turns with the row, a quarter with the column, each
    at 16 frequencies; the other half holds the second coordinates of these rotations.
    """
    frequencies = _PERIOD ** -np.arange(0, 1, 4 / HEAD)
    rows = 2 * (np.arange(height) + 0.5) / height - 1
    columns = 2 * (np.arange(width) + 0.5) / width - 1
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    angles = 2 * math.pi * places[:, :, None] * frequencies
    angles = np.tile(angles.reshape(len(places), -1), 2)[:, None]
    cosine, sine = (jnp.asarray(f(angles), jnp.float32) for f in (np.cos, np.sin))

    def rotate(x: Float[Array, "b n heads c"]) -> Float[Array, "b n heads c"]:
        others = x.shape[1] - len(places)
        patches = x[:, others:]
        left, right = jnp.split(patches, 2, axis=-1)
        turned = jnp.concatenate([-right, left], axis=-1)
        rotated = patches * cosine + turned * sine
        return jnp.concatenate([x[:, :others], rotated], axis=1)

    return rotate


def read_rotary(
    tensors: Tensors,
) -> tuple[RotaryTransformer, dict[str, np.ndarray]] | None:
    """The architecture and its arrays, or None if the names are not DINOv3's.

    Raises:
      ValueError: if a tensor is missing, has another shape, or is unknown.
    """
    if "layer.0.attention.q_proj.weight" not in tensors:
        return None
    network = _network(tensors)
    width, px = network.width, network.patch_px
    kernel = tensors.kernel("embeddings.patch_embeddings.weight", (px, px, 3, width))
    mean, deviation = imagenet_input()
    registers = (1, network.registers, width)
    arrays = {
        MEAN: mean,
        DEVIATION: deviation,
        "class_token": tensors.take("embeddings.cls_token", (1, 1, width))[0],
        "registers": tensors.take("embeddings.register_tokens", registers)[0],
        "patch/kernel": kernel.reshape(-1, width),
        "patch/bias": tensors.take("embeddings.patch_embeddings.bias", (width,)),
        "norm/kernel": tensors.take("norm.weight", (width,)),
        "norm/bias": tensors.take("norm.bias", (width,)),
    }
    for number in range(network.blocks):
        block = _block_arrays(tensors, f"layer.{number}", width)
        arrays |= {f"block{number + 1}/{name}": a for name, a in block.items()}
    tensors.refuse_others(("embeddings.mask_token",))
    return network, arrays


def _network(tensors: Tensors) -> RotaryTransformer:
    """The architecture, inferred from the shapes of the first tensors."""
    width = tensors.shape("embeddings.cls_token")[-1]
    if width % HEAD:
        raise ValueError(
            f"{tensors.path}: embeddings.cls_token must have a multiple of {HEAD} "
            f"channels, got {width}"
        )
    count = 0
    while any(name.startswith(f"layer.{count}.") for name in tensors.names):
        count += 1
    registers = tensors.shape("embeddings.register_tokens")[1]
    return RotaryTransformer(width, count, registers)


def _block_arrays(tensors: Tensors, block: str, width: int) -> dict[str, np.ndarray]:
    """The arrays of one block. The keys have no bias in the published weights."""
    found = {}
    for name in ("norm1", "norm2"):
        found[f"{name}/kernel"] = tensors.take(f"{block}.{name}.weight", (width,))
        found[f"{name}/bias"] = tensors.take(f"{block}.{name}.bias", (width,))
    for name, (stored, inputs, outputs) in _DENSE.items():
        shape = (outputs * width, inputs * width)
        found[f"{name}/kernel"] = tensors.take(f"{block}.{stored}.weight", shape).T
        found[f"{name}/bias"] = tensors.take(f"{block}.{stored}.bias", shape[:1])
    for number in (1, 2):
        scale = f"{block}.layer_scale{number}.lambda1"
        found[f"scale{number}"] = tensors.take(scale, (width,))
    layers = [f"{block}.attention.{part}_proj" for part in "qkv"]
    kernels = [tensors.take(f"{layer}.weight", (width, width)) for layer in layers]
    biases = [
        tensors.take(f"{layer}.bias", (width,))
        if f"{layer}.bias" in tensors
        else np.zeros(width, np.float32)
        for layer in layers
    ]
    found["qkv/kernel"] = np.concatenate(kernels).T
    found["qkv/bias"] = np.concatenate(biases)
    return found
