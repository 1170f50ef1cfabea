"""A backbone's architecture as a line of JSON, for configs; its default stages."""

import dataclasses
import functools
import json

from lfq_jax.backbones.backbone import Network
from lfq_jax.backbones.registry import ARCHITECTURES

_KINDS: dict[str, type] = {
    each.network.__name__: each.network for each in ARCHITECTURES
}
_STRIDES = (8, 16)
"""Strides of the default stages. Finer features are no better than the filter bank's,
and coarser ones do not locate a defect."""
_OF_ONE_STRIDE = 3  # default stages of a network with a single stride


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
    """Names of the default stages.

    The last stage of stride 8 and the first and last of stride 16; for a network with a
    single stride, three evenly spaced stages up to the last.
    """
    by_stride: dict[int, list[str]] = {}
    for stage in network.stages:
        by_stride.setdefault(stage.stride, []).append(stage.name)
    if len(by_stride) == 1:
        (names,) = by_stride.values()
        count = min(_OF_ONE_STRIDE, len(names))
        return tuple(names[len(names) * (i + 1) // count - 1] for i in range(count))
    middle, coarse = (by_stride[stride] for stride in _STRIDES)
    return tuple(dict.fromkeys((middle[-1], coarse[0], coarse[-1])))
