"""DINOv2's vision transformers with patches of 14 pixels (Oquab et al. 2024).

With registers or without (Darcet et al. 2024). The names are those of timm and the
authors' release (`blocks.0.attn.qkv.weight`) or of Hugging Face (`Dinov2Model`,
`Dinov2WithRegistersModel`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import DEVIATION, MEAN
from lfq_jax.backbones.transformer import (
    HEAD,
    Transformer,
    block_maps,
    grid_of,
    patches_of,
)
from lfq_jax.backbones.weights_file import Tensors, imagenet_input

_PATCH_PX = 14
_EPSILON = 1e-6  # epsilon of the layer norms
_CUBIC = -0.75  # kernel parameter of torch's bicubic interpolation, not antialiased
_NAMES = {
    (384, 12): "dinov2_vits14",
    (768, 12): "dinov2_vitb14",
    (1024, 24): "dinov2_vitl14",
}
_LAYERS = {
    "norm1": ("norm1", "norm1"),
    "attention": ("attn.proj", "attention.output.dense"),
    "norm2": ("norm2", "norm2"),
    "mlp1": ("mlp.fc1", "mlp.fc1"),
    "mlp2": ("mlp.fc2", "mlp.fc2"),
}
"""Layers with a weight and a bias: the name here, in timm and in Hugging Face."""
_SCALES = {
    "scale1": ("ls1.gamma", "layer_scale1.lambda1"),
    "scale2": ("ls2.gamma", "layer_scale2.lambda1"),
}
_QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


@dataclass(frozen=True)
class VisionTransformer(Transformer):
    """Patches, a class token, registers, and attention blocks with layer scale.

    An image whose sides are not multiples of 14 is resized to the nearest multiples.
    """

    width: int
    """Channels: 384 in ViT-S, 768 in ViT-B, 1024 in ViT-L."""
    blocks: int
    native_patches: int
    """Patches per side that have stored positions; 37 in the published weights."""
    antialias: bool
    """Whether positions are resized with antialiasing: in timm, and with registers."""
    registers: int = 0
    """Tokens without a place, which the published networks with registers have 4 of."""
    patch_px: int = _PATCH_PX

    @property
    def name(self) -> str:
        fallback = f"dinov2_width{self.width}_blocks{self.blocks}"
        name = _NAMES.get((self.width, self.blocks), fallback)
        return f"{name}_reg" if self.registers else name

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        grid = grid_of(images, self.patch_px)
        patches = patches_of(arrays, images, self.patch_px)
        patches = patches + self._positions(arrays["positions"], *grid)
        first = arrays["class_token"] + arrays["class_position"]
        if self.registers:
            first = jnp.concatenate([first, arrays["registers"]])
        first = jnp.broadcast_to(first, (len(images), *first.shape))
        tokens = jnp.concatenate([first, patches], axis=1)
        yield from block_maps(
            arrays, tokens, blocks=self.blocks, grid=grid, epsilon=_EPSILON
        )

    def _positions(
        self, native: Float[Array, "s s c"], height: int, width: int
    ) -> Float[Array, "n c"]:
        size = (height, width)
        if size != native.shape[:2]:
            if self.antialias:
                native = jax.image.resize(native, (*size, self.width), "cubic")
            else:
                down, across = (
                    jnp.asarray(_bicubic(n, self.native_patches)) for n in size
                )
                native = jnp.einsum("hi,ijc,wj->hwc", down, native, across)
        return native.reshape(height * width, self.width)


def _bicubic(size: int, native: int) -> Float[np.ndarray, "size native"]:
    """Matrix that resizes `native` values to `size`, as torch's bicubic `interpolate`.

    Half-pixel centres, edges repeated, no antialiasing (Keys 1981 with a = -0.75).
    """
    centres = (np.arange(size) + 0.5) * native / size - 0.5
    first = np.floor(centres).astype(int) - 1
    matrix = np.zeros((size, native))
    for tap in range(4):
        distance = np.abs(centres - (first + tap))
        near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
        far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        column = np.clip(first + tap, 0, native - 1)
        np.add.at(matrix, (np.arange(size), column), np.where(distance <= 1, near, far))
    return matrix.astype(np.float32)


class _Names(NamedTuple):
    """The names of one library's files."""

    column: int
    """Column of `_LAYERS` and `_SCALES`."""
    top: str
    positions: str
    patch: str
    blocks: str
    final: str


_TIMM = _Names(0, "", "pos_embed", "patch_embed.proj", "blocks", "norm")
_HUGGING_FACE = _Names(
    1,
    "embeddings.",
    "embeddings.position_embeddings",
    "embeddings.patch_embeddings.projection",
    "encoder.layer",
    "layernorm",
)
_TIMM_REGISTERS = "reg_token"  # the authors and Hugging Face have `register_tokens`


def read_vit(
    tensors: Tensors,
) -> tuple[VisionTransformer, dict[str, np.ndarray]] | None:
    """The architecture and its arrays, or None if the names are not DINOv2's.

    Raises:
      ValueError: if a tensor is missing, has another shape, or is unknown.
    """
    if "blocks.0.attn.qkv.weight" in tensors:
        return _read(tensors, _TIMM)
    if "encoder.layer.0.attention.attention.query.weight" in tensors:
        return _read(tensors, _HUGGING_FACE)
    return None


def _read(
    tensors: Tensors, names: _Names
) -> tuple[VisionTransformer, dict[str, np.ndarray]]:
    network = _network(tensors, names)
    width, px = network.width, network.patch_px
    kernel = tensors.kernel(f"{names.patch}.weight", (px, px, 3, width))
    mean, deviation = imagenet_input()
    arrays = {
        MEAN: mean,
        DEVIATION: deviation,
        "class_token": tensors.take(f"{names.top}cls_token", (1, 1, width))[0],
        "patch/kernel": kernel.reshape(-1, width),
        "patch/bias": tensors.take(f"{names.patch}.bias", (width,)),
        "norm/kernel": tensors.take(f"{names.final}.weight", (width,)),
        "norm/bias": tensors.take(f"{names.final}.bias", (width,)),
    }
    arrays |= _position_arrays(tensors, names, network)
    if network.registers:
        shape = (1, network.registers, width)
        arrays["registers"] = tensors.take(_registers(tensors, names), shape)[0]
    for number in range(network.blocks):
        block = f"{names.blocks}.{number}"
        found = _block_arrays(tensors, block, width, names is _TIMM)
        arrays |= {f"block{number + 1}/{name}": a for name, a in found.items()}
    tensors.refuse_others(("head.", "mask_token", "embeddings.mask_token"))
    return network, arrays


def _registers(tensors: Tensors, names: _Names) -> str:
    """Name of the registers' tensor, which the file may lack."""
    return (
        _TIMM_REGISTERS if _TIMM_REGISTERS in tensors else f"{names.top}register_tokens"
    )


def _class_positions(tensors: Tensors) -> int:
    """Number of stored positions that belong to no patch: the class token's, if any.

    With registers timm has added the position to the token.
    """
    return 0 if _TIMM_REGISTERS in tensors else 1


def _position_arrays(
    tensors: Tensors, names: _Names, network: VisionTransformer
) -> dict[str, np.ndarray]:
    width, side, more = network.width, network.native_patches, _class_positions(tensors)
    stored = tensors.take(names.positions, (1, side * side + more, width))[0]
    first = stored[:more] if more else np.zeros((1, width), np.float32)
    return {
        "class_position": first,
        "positions": stored[more:].reshape(side, side, width),
    }


def _network(tensors: Tensors, names: _Names) -> VisionTransformer:
    """The architecture, inferred from the shapes of the first tensors."""
    token, more = f"{names.top}cls_token", _class_positions(tensors)
    width = tensors.shape(token)[-1]
    patches = tensors.shape(names.positions)[1] - more
    side = math.isqrt(max(patches, 1))
    if width % HEAD or side * side != patches:
        raise ValueError(
            f"{tensors.path}: {token} must have a multiple of {HEAD} channels and "
            f"{names.positions} a square of patches and {more} more, got {width} and "
            f"{patches + more}"
        )
    blocks = 0
    while any(n.startswith(f"{names.blocks}.{blocks}.") for n in tensors.names):
        blocks += 1
    registers = _registers(tensors, names)
    count = tensors.shape(registers)[1] if registers in tensors else 0
    antialias = names is _TIMM or count > 0
    return VisionTransformer(width, blocks, side, antialias, registers=count)


def _block_arrays(
    tensors: Tensors, block: str, width: int, is_timm: bool
) -> dict[str, np.ndarray]:
    """The arrays of one block, which the file names with the prefix `block`."""
    which = 0 if is_timm else 1
    wide = {"mlp1": (width, 4 * width), "mlp2": (4 * width, width)}
    found = {}
    for name, names in _LAYERS.items():
        shape = wide.get(name, (width, width))
        layer = f"{block}.{names[which]}"
        if name.startswith("norm"):
            found[f"{name}/kernel"] = tensors.take(f"{layer}.weight", shape[-1:])
        else:
            found[f"{name}/kernel"] = tensors.take(f"{layer}.weight", shape[::-1]).T
        found[f"{name}/bias"] = tensors.take(f"{layer}.bias", shape[-1:])
    for name, names in _SCALES.items():
        found[name] = tensors.take(f"{block}.{names[which]}", (width,))
    if is_timm:
        qkv = tensors.take(f"{block}.attn.qkv.weight", (3 * width, width))
        found["qkv/kernel"] = qkv.T
        found["qkv/bias"] = tensors.take(f"{block}.attn.qkv.bias", (3 * width,))
        return found
    kernels = [tensors.take(f"{block}.{n}.weight", (width, width)) for n in _QKV]
    biases = [tensors.take(f"{block}.{n}.bias", (width,)) for n in _QKV]
    found["qkv/kernel"] = np.concatenate(kernels).T
    found["qkv/bias"] = np.concatenate(biases)
    return found
