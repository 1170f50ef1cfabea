"""Makes quantizers from their names or configs."""

from typing import Any

from lfq_jax.quantizers.config import NoneConfig
from lfq_jax.quantizers.protocol import Quantizer
from lfq_jax.quantizers.registry import QUANTIZERS, config_of, name_of


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
