"""DINOv2's vision transformers with patches of 14 pixels (Oquab et al. 2024).

The names are those of timm and the authors' release (`blocks.0.attn.qkv.weight`) or of
Hugging Face (`Dinov2Model`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import DEVIATION, MEAN, Stage
from lfq_jax.backbones.weights_file import Tensors, imagenet_input

PATCH_PX = 14
_HEAD = 64  # channels of an attention head
_EPSILON = 1e-6  # epsilon of the layer norms
_CUBIC = -0.75  # kernel parameter of torch's bicubic interpolation, not antialiased
_NAMES = {(384, 12): "dinov2_vits14", (768, 12): "dinov2_vitb14"}
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
_REGISTERS = ("reg_token", "register_tokens")
_QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


@dataclass(frozen=True)
class VisionTransformer:
    """Patches, a class token, and attention blocks with layer scale.

    An image whose sides are not multiples of 14 is resized to the nearest multiples.
    """

    width: int
    """Channels: 384 in ViT-S, 768 in ViT-B."""
    blocks: int
    native_patches: int
    """Patches per side that have stored positions; 37 in the published weights."""
    antialias: bool
    """Whether positions are resized with antialiasing, as in timm; not Hugging Face."""

    @property
    def name(self) -> str:
        fallback = f"dinov2_width{self.width}_blocks{self.blocks}"
        return _NAMES.get((self.width, self.blocks), fallback)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Each block's output, and the last block's output after the final norm."""
        names = [f"block{number}" for number in range(1, self.blocks + 1)]
        return tuple(Stage(name, PATCH_PX, self.width) for name in (*names, "norm"))

    @property
    def default_stages(self) -> tuple[str, ...]:
        names = [stage.name for stage in self.stages]
        return tuple(names[len(names) * (i + 1) // 3 - 1] for i in range(3))

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        height, width = (max(1, round(side / PATCH_PX)) for side in images.shape[1:3])
        x = self._tokens(arrays, images, height, width)

        def as_map(tokens: Array) -> Array:
            return tokens[:, 1:].reshape(len(x), height, width, self.width)

        for number in range(self.blocks):
            x = self._block(arrays, f"block{number + 1}", x)
            yield as_map(x)
        yield as_map(_norm(arrays, "norm", x))

    def _tokens(
        self, arrays: Mapping[str, Array], images: Array, height: int, width: int
    ) -> Float[Array, "b n c"]:
        """Class token and patches, with their positions added."""
        size = (len(images), height * PATCH_PX, width * PATCH_PX, 3)
        if images.shape != size:
            images = jax.image.resize(images, size, "bilinear")
        b, _, _, _ = images.shape
        cells = images.reshape(b, height, PATCH_PX, width, PATCH_PX, 3)
        patches = cells.transpose(0, 1, 3, 2, 4, 5).reshape(b, height * width, -1)
        x = _dense(arrays, "patch", patches)
        positions = self._positions(arrays["positions"], height, width)
        first = arrays["class_token"] + arrays["class_position"]
        first = jnp.broadcast_to(first, (b, 1, self.width))
        return jnp.concatenate([first, x + positions], axis=1)

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

    def _block(self, arrays: Mapping[str, Array], name: str, x: Array) -> Array:
        """One block: two residual branches, each scaled channel by channel."""
        y = self._attention(arrays, name, _norm(arrays, f"{name}/norm1", x))
        x = x + arrays[f"{name}/scale1"] * y
        y = _dense(arrays, f"{name}/mlp1", _norm(arrays, f"{name}/norm2", x))
        y = _dense(arrays, f"{name}/mlp2", jax.nn.gelu(y, approximate=False))
        return x + arrays[f"{name}/scale2"] * y

    def _attention(self, arrays: Mapping[str, Array], name: str, x: Array) -> Array:
        b, n, _ = x.shape
        heads = self.width // _HEAD
        qkv = _dense(arrays, f"{name}/qkv", x).reshape(b, n, 3, heads, _HEAD)
        query, key, value = (qkv[:, :, part] for part in range(3))
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(_HEAD)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), value)
        return _dense(arrays, f"{name}/attention", mixed.reshape(b, n, self.width))


def _dense(arrays: Mapping[str, Array], name: str, x: Array) -> Array:
    return x @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]


def _norm(arrays: Mapping[str, Array], name: str, x: Array) -> Array:
    """Layer norm of x over the channels."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(variance + _EPSILON)
    return normed * arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]


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


def read_vit(
    tensors: Tensors,
) -> tuple[VisionTransformer, dict[str, np.ndarray]] | None:
    """The architecture and its arrays, or None if the names are not DINOv2's.

    Raises:
      ValueError: if a tensor is missing, has another shape, or is unknown.
    """
    if "blocks.0.attn.qkv.weight" in tensors:
        return _read(tensors, is_timm=True)
    if "encoder.layer.0.attention.attention.query.weight" in tensors:
        return _read(tensors, is_timm=False)
    return None


def _read(
    tensors: Tensors, *, is_timm: bool
) -> tuple[VisionTransformer, dict[str, np.ndarray]]:
    top = "" if is_timm else "embeddings."
    positions_name = "pos_embed" if is_timm else f"{top}position_embeddings"
    block_name = "blocks" if is_timm else "encoder.layer"
    network = _network(tensors, f"{top}cls_token", positions_name, block_name, is_timm)
    width, side = network.width, network.native_patches
    positions = tensors.take(positions_name, (1, side * side + 1, width))[0]
    patch = "patch_embed.proj" if is_timm else f"{top}patch_embeddings.projection"
    kernel = tensors.kernel(f"{patch}.weight", (PATCH_PX, PATCH_PX, 3, width))
    mean, deviation = imagenet_input()
    arrays = {
        MEAN: mean,
        DEVIATION: deviation,
        "class_token": tensors.take(f"{top}cls_token", (1, 1, width))[0],
        "class_position": positions[:1],
        "positions": positions[1:].reshape(side, side, width),
        "patch/kernel": kernel.reshape(-1, width),
        "patch/bias": tensors.take(f"{patch}.bias", (width,)),
    }
    final = "norm" if is_timm else "layernorm"
    arrays["norm/kernel"] = tensors.take(f"{final}.weight", (width,))
    arrays["norm/bias"] = tensors.take(f"{final}.bias", (width,))
    for number in range(network.blocks):
        block = _block_arrays(tensors, f"{block_name}.{number}", width, is_timm)
        arrays |= {f"block{number + 1}/{name}": a for name, a in block.items()}
    tensors.refuse_others(("head.", "mask_token", "embeddings.mask_token"))
    return network, arrays


def _network(
    tensors: Tensors, token: str, positions: str, blocks: str, is_timm: bool
) -> VisionTransformer:
    """The architecture, inferred from the shapes of the first tensors."""
    registers = [n for n in tensors.names if n.endswith(_REGISTERS)]
    if registers:
        raise ValueError(
            f"{tensors.path}: the tensor {registers[0]} is unknown to this "
            "architecture: registers are not read"
        )
    width = tensors.shape(token)[-1]
    patches = tensors.shape(positions)[1] - 1
    side = math.isqrt(max(patches, 1))
    if width % _HEAD or side * side != patches:
        raise ValueError(
            f"{tensors.path}: {token} must have a multiple of {_HEAD} channels and "
            f"{positions} a square of patches and one, got {width} and {patches + 1}"
        )
    count = 0
    while any(name.startswith(f"{blocks}.{count}.") for name in tensors.names):
        count += 1
    return VisionTransformer(width, count, side, antialias=is_timm)


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
