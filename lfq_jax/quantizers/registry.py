"""Quantizers by name. A new one needs a file in this folder and one line below."""

import dataclasses
import difflib
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from lfq_jax.quantizers.bsq import BSQ
from lfq_jax.quantizers.config import (
    BSQConfig,
    FSQConfig,
    GumbelVQConfig,
    LFQConfig,
    NoneConfig,
    ResidualLFQConfig,
    SimVQConfig,
    VQConfig,
)
from lfq_jax.quantizers.fsq import FSQ
from lfq_jax.quantizers.gumbel_vq import GumbelVQ
from lfq_jax.quantizers.lfq import LFQ
from lfq_jax.quantizers.none import NoQuantizer
from lfq_jax.quantizers.protocol import Quantizer
from lfq_jax.quantizers.residual_lfq import ResidualLFQ
from lfq_jax.quantizers.simvq import SimVQ
from lfq_jax.quantizers.vq import VQ


class Variant(NamedTuple):
    """A quantizer's config class and its own class."""

    config: type
    quantizer: Callable[..., Quantizer]


def in_file(module: str, config: str, quantizer: str) -> Variant:
    """The variant with two classes that are defined in a file of this folder.

    A new quantizer then needs one line. The built-in ones are imported above so that
    type checkers see them.
    """
    home = importlib.import_module(f"{__package__}.{module}")
    return Variant(getattr(home, config), getattr(home, quantizer))


QUANTIZERS: dict[str, Variant] = {
    "lfq": Variant(LFQConfig, LFQ),
    "residual_lfq": Variant(ResidualLFQConfig, ResidualLFQ),
    "bsq": Variant(BSQConfig, BSQ),
    "fsq": Variant(FSQConfig, FSQ),
    "vq": Variant(VQConfig, VQ),
    "simvq": Variant(SimVQConfig, SimVQ),
    "gumbel_vq": Variant(GumbelVQConfig, GumbelVQ),
    "none": Variant(NoneConfig, NoQuantizer),
}


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


def make(config: object, *, dim: int | None = None, **fields: Any) -> Quantizer:
    """A quantizer, from its name or its config.

    Args:
        config: a name in `QUANTIZERS`, or an instance of a registered config.
        dim: length of z's last axis, for `none`, which accepts any. For the other
            quantizers the config determines it: see `Quantizer.dim`.
        **fields: fields of the config to set; only with a name.

    Raises:
        ValueError: if no such quantizer is registered or a field is wrong.

    Example:
        >>> make("lfq", bits=10).dim
        10
    """
    if isinstance(config, str):
        config = config_of(config, **fields)
    elif fields:
        raise ValueError(f"fields must come with a name, got a config and {fields}")
    variant = QUANTIZERS[name_of(config)]
    if isinstance(config, NoneConfig):
        if dim is None or dim < 1:
            raise ValueError(f"dim must be at least 1 for none, got {dim}")
        return variant.quantizer(config, dim)
    return variant.quantizer(config)
