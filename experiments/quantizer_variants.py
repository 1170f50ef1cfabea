"""Quantizers as words on a command line: `lfq`, or `lfq:bits=1,normalisation=layer`."""

import ast
import dataclasses
from typing import Any


def read_variant(text: str) -> Any:
    """The config that a name, and fields after a colon, stand for.

    Values are numbers, words or tuples, as `fsq:levels=(8,6,5)`.

    Raises:
      ValueError: where there is no such quantizer or field, or a value is refused.
    """
    from lfq_jax.quantizers import config_of

    name, colon, written = text.partition(":")
    default = config_of(name)
    known = {field.name: field.default for field in dataclasses.fields(default)}
    fields = _fields(text, written) if colon else {}
    sound = {
        field: _of_kind(f"{field} of {name}", value, known[field])
        for field, value in fields.items()
        if field in known
    }
    unknown = {field: value for field, value in fields.items() if field not in known}
    return config_of(name, **sound, **unknown)  # which names an unknown field


def _fields(text: str, written: str) -> dict[str, Any]:
    """`a=1,b=word` as a dict, read as Python reads a call's keywords."""
    mistake = ValueError(
        f"a variant must be NAME or NAME:FIELD=VALUE,FIELD=VALUE, got {text!r}"
    )
    try:
        call = ast.parse(f"config({written})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not call.keywords:
            raise mistake
        return {str(each.arg): _value(each.value) for each in call.keywords}
    except (SyntaxError, ValueError):
        raise mistake from None


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _of_kind(what: str, value: Any, default: Any) -> Any:
    """`value` as the kind that the field's default is of."""
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{what} must be of type {kind.__name__}, got {value!r}")
    if kind is tuple and any(type(each) is not type(default[0]) for each in value):
        rule = f"hold values of type {type(default[0]).__name__}"
        raise ValueError(f"{what} must {rule}, got {value!r}")
    return value
