"""Conversion of configs to JSON values, and back."""

import dataclasses
import typing
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def as_json(config: Any) -> Any:
    """Convert a config to JSON values, which `from_json` converts back.

    If a field may hold several config classes, the class name is stored as `kind`.
    """
    if isinstance(config, (tuple, list)):
        return [as_json(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    if not dataclasses.is_dataclass(config):
        return config
    hints = typing.get_type_hints(type(config))
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = as_json(value)
        if len(_kinds(hints[field.name])) > 1:
            values[field.name]["kind"] = type(value).__name__
    return values


def from_json(cls: type[T], values: dict[str, Any]) -> T:
    """Build a config from the JSON values of `as_json`.

    Raises:
      ValueError: if this version does not know a field, or the config refuses a value.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}")
    return cls(**{name: _value(hints[name], value) for name, value in values.items()})


def _kinds(hint: Any) -> dict[str, Any]:
    """The config classes that a field may hold, by name."""
    choices = (hint, *typing.get_args(hint))
    classes = [c for c in choices if isinstance(c, type)]
    return {c.__name__: c for c in classes if dataclasses.is_dataclass(c)}


def _value(hint: Any, value: Any) -> Any:
    kinds = _kinds(hint)
    if isinstance(value, dict) and kinds:
        fields = dict(value)
        kind = fields.pop("kind", next(iter(kinds)))
        if kind not in kinds:
            raise ValueError(f"kind must be one of {', '.join(kinds)}, got {kind}")
        return from_json(kinds[kind], fields)
    if isinstance(value, str) and Path in (hint, *typing.get_args(hint)):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
