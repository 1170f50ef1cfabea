"""Quantizers of any array `[..., d]`, behind one protocol.

See docs/how_to/add_quantizer.md.
Importing `quantizers.config`, or the names of `QUANTIZERS`, does not load jax. Using a
quantizer does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfq_jax.quantizers.construction import make
    from lfq_jax.quantizers.protocol import Quantized, Quantizer
    from lfq_jax.quantizers.registry import QUANTIZERS, config_of, name_of

__all__ = ["QUANTIZERS", "Quantized", "Quantizer", "config_of", "make", "name_of"]

_HOMES = {"Quantized": "protocol", "Quantizer": "protocol", "make": "construction"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "registry")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
