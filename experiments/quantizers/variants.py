"""Quantizers as command-line words: `lfq`, or `lfq:bits=1,normalisation=layer`."""

import ast
import dataclasses
from typing import Any


def read_variant(text: str) -> Any:
    """The quantizer config for a name, with optional fields after a colon.

    Values are numbers, words or tuples, as in `fsq:levels=(8,6,5)`.

    Raises:
      ValueError: if the quantizer or a field does not exist, or a value is refused.
    """
    from lfq_jax.quantizers import config_of

    name, colon, written = text.partition(":")
    default = config_of(name)
    known = {field.name: field.default for field in dataclasses.fields(default)}
    fields = _fields(text, written) if colon else {}
    accepted = {
        field: _check_type(f"{field} of {name}", value, known[field])
        for field, value in fields.items()
        if field in known
    }
    unknown = {field: value for field, value in fields.items() if field not in known}
    return config_of(name, **accepted, **unknown)  # refuses unknown fields


def _fields(text: str, written: str) -> dict[str, Any]:
    """The fields of `a=1,b=word` as a dict, parsed like keywords of a Python call."""
    mistake = ValueError(
        f"a variant must be NAME or NAME:FIELD=VALUE,FIELD=VALUE, got {text!r}"
    )
    try:
        call = ast.parse(f"config({written})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not call.keywords:
            raise mistake
        return {str(field.arg): _value(field.value) for field in call.keywords}
    except (SyntaxError, ValueError):
        raise mistake from None


def _value(node: ast.expr) -> Any:
    """A bare word as a string, anything else as a Python literal."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _check_type(what: str, value: Any, default: Any) -> Any:
    """`value`, if it has the type of the field's default; a whole number as a float.

    Raises:
      ValueError: if the type differs.
    """
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{what} must be of type {kind.__name__}, got {value!r}")
    if kind is tuple and any(type(item) is not type(default[0]) for item in value):
        rule = f"hold values of type {type(default[0]).__name__}"
        raise ValueError(f"{what} must {rule}, got {value!r}")
    return value
