"""Quantizers by name. A new one needs a file in this folder and one line below.

Importing this file does not load jax: a quantizer's file is imported at first use.
"""

import dataclasses
import difflib
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Variant(NamedTuple):
    """A quantizer's config class and its own class."""

    config: type
    quantizer: Callable[..., Any]


Loader = Callable[[], Variant]


def in_file(module: str, config: str, quantizer: str) -> Loader:
    """Loads the variant with two classes that are named in a file of this folder."""
    return functools.partial(_load, module, config, quantizer)


@functools.cache
def _load(module: str, config: str, quantizer: str) -> Variant:
    home = importlib.import_module(f"{__package__}.{module}")
    return Variant(getattr(home, config), getattr(home, quantizer))


class Registry(Mapping[str, Variant]):
    """Variants by name, each imported on access. The names alone import nothing."""

    def __init__(self, loaders: dict[str, Loader]) -> None:
        self._loaders = loaders

    def __getitem__(self, name: str) -> Variant:
        return self._loaders[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)


QUANTIZERS: Mapping[str, Variant] = Registry(
    {
        "lfq": in_file("lfq", "LFQConfig", "LFQ"),
        "residual_lfq": in_file("residual_lfq", "ResidualLFQConfig", "ResidualLFQ"),
        "bsq": in_file("bsq", "BSQConfig", "BSQ"),
        "fsq": in_file("fsq", "FSQConfig", "FSQ"),
        "vq": in_file("vq", "VQConfig", "VQ"),
        "simvq": in_file("simvq", "SimVQConfig", "SimVQ"),
        "gumbel_vq": in_file("gumbel_vq", "GumbelVQConfig", "GumbelVQ"),
        "none": in_file("none", "NoneConfig", "NoQuantizer"),
    }
)


def config_of(name: str, **fields: Any) -> Any:
    """The config of the quantizer `name`; fields that are not given keep their default.

    Raises:
        ValueError: if no quantizer has that name, or its config lacks a field.
    """
    if name not in QUANTIZERS:
        close = difflib.get_close_matches(name, QUANTIZERS, n=1, cutoff=0.5)
        hint = f", did you mean {close[0]!r}?" if close else ""
        known = ", ".join(QUANTIZERS)
        raise ValueError(f"quantizer must be one of {known}, got {name!r}{hint}")
    kind = QUANTIZERS[name].config
    known_fields = [field.name for field in dataclasses.fields(kind)]
    for field in fields:
        if field not in known_fields:
            rule = f"one of {', '.join(known_fields) or 'none, it has no fields'}"
            raise ValueError(f"a field of {name} must be {rule}, got {field!r}")
    return kind(**fields)


def name_of(config: object) -> str:
    """The registered name of a config's quantizer.

    Raises:
        ValueError: if no quantizer has a config of this type.
    """
    for name, variant in QUANTIZERS.items():
        if type(config) is variant.config:
            return name
    raise ValueError(
        f"quantizer config must be of a registered kind, got {type(config).__name__}"
    )
