"""Loads a backbone from a weights file. The tensors' names identify its architecture.

Pickled files (.pth) are not read, since they can run code.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from lfq_jax.backbones.backbone import Backbone
from lfq_jax.backbones.registry import ARCHITECTURES
from lfq_jax.backbones.weights_file import Tensors

SUFFIXES = (".npz", ".safetensors")


def load_backbone(path: str | Path) -> Backbone:
    """The backbone in a weights file.

    Args:
      path: a .npz or .safetensors file.

    Raises:
      ValueError: if the file is missing or damaged, has no supported architecture,
        lacks a tensor, or has a tensor of another shape.
    """
    path = Path(path)
    tensors = Tensors(path, _read(path))
    for architecture in ARCHITECTURES:
        found = architecture.read(tensors)
        if found is not None:
            network, arrays = found
            return Backbone({n: jnp.asarray(a) for n, a in arrays.items()}, network)
    *others, last = (architecture.description for architecture in ARCHITECTURES)
    raise ValueError(
        f"{path} must hold the tensors of {', '.join(others)} or {last}, got "
        f"{', '.join(tensors.names[:3]) or 'none'}"
    )


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path} must end in {' or '.join(SUFFIXES)}: no other weights are read"
        )
    if not path.is_file():
        raise ValueError(f"{path} does not exist: it must be a file of weights")
    try:
        if path.suffix == ".safetensors":
            return safetensors.numpy.load_file(path)
        with path.open("rb") as file:  # np.load leaves a damaged file open
            return dict(np.load(file, allow_pickle=False))
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:
        raise ValueError(f"{path} is damaged or of a type not read: {error}") from None
