"""A backbone's architecture as a line of JSON, for configs; its default stages."""

import dataclasses
import functools
import json

from lfq_jax.backbones.backbone import Network
from lfq_jax.backbones.registry import ARCHITECTURES

_KINDS: dict[str, type] = {
    each.network.__name__: each.network for each in ARCHITECTURES
}


def network_as_text(network: Network) -> str:
    """The architecture as JSON: `{"kind": "SqueezeNet"}`, plus its fields."""
    fields = {f.name: getattr(network, f.name) for f in dataclasses.fields(network)}  # pyright: ignore[reportArgumentType]
    return json.dumps({"kind": type(network).__name__, **fields})


@functools.cache
def network_from_text(text: str) -> Network:
    """The architecture from the JSON of `network_as_text`.

    Raises:
      ValueError: for a kind or a field that this version does not have.
    """
    fields = json.loads(text)
    kind = fields.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"network must be one of {', '.join(_KINDS)}, got {kind}")
    lists = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
    try:
        return _KINDS[kind](**lists)
    except TypeError as error:
        raise ValueError(f"network {kind} is another version's: {error}") from error


def default_stages(network: Network) -> tuple[str, ...]:
    """Names of the stages that a training-free detector compares."""
    return network.default_stages


def detector_stages(network: Network) -> tuple[str, ...]:
    """Names of the stages that LFQUIAD compares unless its config names others."""
    return network.detector_stages
