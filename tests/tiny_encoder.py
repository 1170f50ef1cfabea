"""Tensors of published networks without a download: random, or all ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lfq_jax.backbones.weights_file import Tensors

if TYPE_CHECKING:
    import torch

SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}


def write_squeezenet(path: Path, *, seed: int = 0) -> Path:
    """Write `path`, a .npz file whose features keep about the scale of the image."""
    rng = np.random.default_rng(seed)

    def drawn(out: int, into: int, side: int) -> dict[str, np.ndarray]:
        deviation = np.sqrt(2 / (into * side * side))
        kernel = rng.normal(0, deviation, (out, into, side, side))
        return {"w": kernel, "b": rng.normal(0, 0.01, out)}

    layers = {"conv1": drawn(64, 3, 3)}
    layers["conv1"]["w"] /= 64
    into = 64
    for fire, squeezed in SQUEEZED.items():
        half = 4 * squeezed
        layers[f"fire{fire}/squeeze1x1"] = drawn(squeezed, into, 1)
        layers[f"fire{fire}/expand1x1"] = drawn(half, squeezed, 1)
        layers[f"fire{fire}/expand3x3"] = drawn(half, squeezed, 3)
        into = 2 * half
    tensors = {
        f"{name}/{kind}": tensor.astype(np.float16)
        for name, layer in layers.items()
        for kind, tensor in layer.items()
    }
    np.savez(path, allow_pickle=False, **tensors)
    return path


def one_for_all(peer: "torch.nn.Module") -> Tensors:
    """Tensors of the peer's names and shapes, which take no memory."""
    shapes = {name: tuple(t.shape) for name, t in peer.state_dict().items()}
    one = np.float32(1)
    return Tensors(
        Path("peer.safetensors"),
        {name: np.broadcast_to(one, shape) for name, shape in shapes.items()},
    )
