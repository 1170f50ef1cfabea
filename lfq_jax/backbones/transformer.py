"""What vision transformers share: patches, attention blocks, stages."""

import math
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lfq_jax.backbones.backbone import Stage

HEAD = 64
"""Channels of an attention head."""
UPPER_HALF = "upper_half"
"""Stage: mean over the blocks of the upper half, each after the final norm. As a share
of the depth, the upper half is never worse than a fixed number of last blocks."""
Rotate = Callable[[Float[Array, "b n heads c"]], Float[Array, "b n heads c"]]


class Transformer:
    """The stages of a network of patches, whose fields the subclasses declare."""

    width: int
    blocks: int
    patch_px: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Each block's output, the last one after the final norm, and `UPPER_HALF`."""
        names = [f"block{number}" for number in range(1, self.blocks + 1)]
        names += ["norm", UPPER_HALF]
        return tuple(Stage(name, self.patch_px, self.width) for name in names)

    @property
    def default_stages(self) -> tuple[str, ...]:
        return (UPPER_HALF,)

    @property
    def detector_stages(self) -> tuple[str, ...]:
        return (UPPER_HALF,)


def grid_of(images: Float[Array, "b H W 3"], patch_px: int) -> tuple[int, int]:
    """Rows and columns of patches: the nearest number to each side."""
    height, width = (max(1, round(side / patch_px)) for side in images.shape[1:3])
    return height, width


def patches_of(
    arrays: Mapping[str, Array], images: Float[Array, "b H W 3"], patch_px: int
) -> Float[Array, "b n c"]:
    """Embedded patches, of images that are resized to whole patches."""
    height, width = grid_of(images, patch_px)
    size = (len(images), height * patch_px, width * patch_px, 3)
    if images.shape != size:
        images = jax.image.resize(images, size, "bilinear")
    b, _, _, _ = images.shape
    cells = images.reshape(b, height, patch_px, width, patch_px, 3)
    patches = cells.transpose(0, 1, 3, 2, 4, 5).reshape(b, height * width, -1)
    return dense(arrays, "patch", patches)


def block_maps(
    arrays: Mapping[str, Array],
    tokens: Float[Array, "b n c"],
    *,
    blocks: int,
    grid: tuple[int, int],
    epsilon: float,
    rotate: Rotate | None = None,
) -> Iterator[Float[Array, "b h w c"]]:
    """The map of every stage of `Transformer.stages`, in order.

    Args:
      tokens: class token and registers, if any, then the patches.
      grid: rows and columns of patches.
      epsilon: of the layer norms.
      rotate: changes queries and keys by the tokens' positions.
    """
    first = tokens.shape[1] - math.prod(grid)

    def as_map(x: Array) -> Array:
        return x[:, first:].reshape(len(x), *grid, x.shape[-1])

    x, normed, total = tokens, tokens, jnp.zeros_like(tokens)
    for number in range(blocks):
        x = _block(arrays, f"block{number + 1}", x, epsilon, rotate)
        yield as_map(x)
        if number >= blocks // 2:
            normed = norm(arrays, "norm", x, epsilon)
            total = total + normed
    yield as_map(normed)
    yield as_map(total / (blocks - blocks // 2))


def _block(
    arrays: Mapping[str, Array],
    name: str,
    x: Array,
    epsilon: float,
    rotate: Rotate | None,
) -> Array:
    """One block: two residual branches, each scaled channel by channel."""
    y = norm(arrays, f"{name}/norm1", x, epsilon)
    x = x + arrays[f"{name}/scale1"] * _attention(arrays, name, y, rotate)
    y = dense(arrays, f"{name}/mlp1", norm(arrays, f"{name}/norm2", x, epsilon))
    y = dense(arrays, f"{name}/mlp2", jax.nn.gelu(y, approximate=False))
    return x + arrays[f"{name}/scale2"] * y


def _attention(
    arrays: Mapping[str, Array], name: str, x: Array, rotate: Rotate | None
) -> Array:
    b, n, width = x.shape
    heads = width // HEAD
    qkv = dense(arrays, f"{name}/qkv", x).reshape(b, n, 3, heads, HEAD)
    query, key, value = (qkv[:, :, part] for part in range(3))
    if rotate:
        query, key = rotate(query), rotate(key)
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(HEAD)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), value)
    return dense(arrays, f"{name}/attention", mixed.reshape(b, n, width))


def dense(arrays: Mapping[str, Array], name: str, x: Array) -> Array:
    """x times `name`/kernel, plus `name`/bias."""
    return x @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]


def norm(arrays: Mapping[str, Array], name: str, x: Array, epsilon: float) -> Array:
    """Layer norm of x over the channels."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(variance + epsilon)
    return normed * arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]
