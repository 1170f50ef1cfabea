"""Loads a backbone by its name or from a file of weights.

The tensors' names identify the architecture.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import safetensors
import safetensors.numpy

from lfq_jax.backbones.architecture import network_from_text
from lfq_jax.backbones.backbone import Backbone
from lfq_jax.backbones.published import PUBLISHED
from lfq_jax.backbones.registry import ARCHITECTURES
from lfq_jax.backbones.search import Places, find_weights
from lfq_jax.backbones.torch_pickle import read_torch_file
from lfq_jax.backbones.weights_file import Tensors

_TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def load_backbone(name_or_path: str | Path, places: Places | None = None) -> Backbone:
    """The backbone of this name, or the one in a file of weights.

    Args:
      name_or_path: a published name, such as `efficientnet_lite0`, or a .npz,
        .safetensors, .pth, .pt or .bin file. No code in a file is executed.
      places: where the weights of a name are searched. Default: the installed packages
        and the cache of the Hugging Face hub. Missing weights are downloaded.

    Raises:
      ValueError: if the name is unknown, or the file is damaged, has another hash than
        the published one, has no supported architecture, lacks a tensor, or has a
        tensor of another shape.
      OSError: if the weights of a name are missing and cannot be downloaded.
    """
    path = find_weights(name_or_path, places)
    backbone = _from_file(path)
    entry = PUBLISHED.get(str(name_or_path))
    if entry and backbone.network != network_from_text(entry.architecture):
        raise ValueError(f"{path} holds {backbone.name}, not {entry.name}")
    return backbone


def _from_file(path: Path) -> Backbone:
    tensors = Tensors(path, _read(path))
    for architecture in ARCHITECTURES:
        found = architecture.read(tensors)
        if found is not None:
            network, arrays = found
            return Backbone(jax.device_put(dict(arrays)), network)
    *others, last = (architecture.description for architecture in ARCHITECTURES)
    raise ValueError(
        f"{path} must hold the tensors of {', '.join(others)} or {last}, got "
        f"{', '.join(tensors.names[:3]) or 'none'}"
    )


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if path.suffix in _TORCH_SUFFIXES:
        return read_torch_file(path)
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
