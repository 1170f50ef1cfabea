"""Rewrites a jax function to operations that every graph format has.

ONNX converters support all common operations, but not `reduce_window` with an initial
value, arrays without elements, or loops over the images of a batch. This module
replaces them by operations with the same bits and evaluates everything that depends on
no input. Of platform-dependent branches it takes the default, which may round
differently.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_jaxpr
from jax.extend import core

_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "custom_jvp_call"})


def plain_graph(
    function: Callable[..., Any], *specs: jax.ShapeDtypeStruct
) -> Callable[..., tuple[Any, ...]]:
    """`function`, for inputs like `specs`, rewritten to plain operations.

    The result returns a flat tuple, in the order of `jax.tree.leaves`.
    """
    traced = jax.make_jaxpr(function)(*specs)

    def rewritten(*arguments: Any) -> tuple[Any, ...]:
        return tuple(_evaluate(traced.jaxpr, traced.consts, arguments))

    plain = jax.make_jaxpr(rewritten)(*specs)

    # A trace has fixed types, whatever precision mode a converter sets.
    def evaluated(*arguments: Any) -> tuple[Any, ...]:
        return tuple(eval_jaxpr(plain.jaxpr, plain.consts, *arguments))

    return evaluated


def _evaluate(
    jaxpr: core.Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]
) -> list[Any]:
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, constants, strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        if isinstance(variable, core.Literal):
            return variable.val
        return known[variable]

    for equation in jaxpr.eqns:
        outputs = _applied(equation, [read(variable) for variable in equation.invars])
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _applied(equation: Any, inputs: list[Any]) -> list[Any]:
    """The outputs of one operation, or of its replacement."""
    name, parameters = equation.primitive.name, equation.params
    outputs = [variable.aval for variable in equation.outvars]
    if all(aval.size == 0 for aval in outputs):
        return [np.zeros(aval.shape, aval.dtype) for aval in outputs]
    if name == "platform_index":
        return [np.int32(_default_of(**parameters))]
    if not any(isinstance(value, Tracer) for value in inputs):
        with jax.ensure_compile_time_eval():
            return [np.asarray(value) for value in _bound(equation, inputs)]
    if name in _CALLS:
        inner = parameters.get("jaxpr") or parameters["call_jaxpr"]
        return _evaluate(inner.jaxpr, inner.consts, inputs)
    if name == "concatenate":
        return [_joined([part for part in inputs if np.size(part)], **parameters)]
    if name == "reduce_window" and _is_maximum(parameters["jaxpr"]):
        return [_largest_in_windows(*inputs, **parameters)]
    if name == "scan":
        return _unrolled(inputs, **parameters)
    if name == "cond":
        return _branched(*inputs, **parameters)
    return _bound(equation, inputs)


def _bound(equation: Any, inputs: list[Any]) -> list[Any]:
    """The outputs of the operation itself."""
    outputs = equation.primitive.bind(*inputs, **equation.params)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def _default_of(platforms: Sequence[Sequence[str] | None]) -> int:
    """Index of `platform_dependent`'s branch for platforms that it does not name."""
    return list(platforms).index(None)


def _joined(parts: list[Any], *, dimension: int) -> Any:
    return parts[0] if len(parts) == 1 else jax.lax.concatenate(parts, dimension)


def _is_maximum(reducer: Any) -> bool:
    equations = getattr(reducer, "jaxpr", reducer).eqns
    return [equation.primitive.name for equation in equations] == ["max"]


def _largest_in_windows(
    x: Any,
    least: Any,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **dilations: Any,
) -> Any:
    """`reduce_window` with max, as maxima of shifted slices, one axis after another."""
    for name in ("base_dilation", "window_dilation"):
        if any(dilation != 1 for dilation in dilations.get(name, ())):
            raise NotImplementedError(f"reduce_window with {name}")
    x = jnp.pad(x, padding, constant_values=least)
    sizes = zip(window_dimensions, window_strides, strict=True)
    for axis, (width, stride) in enumerate(sizes):
        count = (x.shape[axis] - width) // stride + 1
        end = (count - 1) * stride + 1
        largest = None
        for start in range(width):
            part = jax.lax.slice_in_dim(x, start, start + end, stride, axis=axis)
            largest = part if largest is None else jnp.maximum(largest, part)
        x = largest
    return jnp.maximum(x, least)


def _unrolled(
    inputs: list[Any],
    *,
    jaxpr: Any,
    length: int,
    num_consts: int,
    num_carry: int,
    reverse: bool,
    **_: Any,
) -> list[Any]:
    """The outputs of a `scan`, unrolled into one copy of its body per step."""
    if reverse:
        raise NotImplementedError("scan with reverse")
    constants, rest = inputs[:num_consts], inputs[num_consts:]
    carried, scanned = rest[:num_carry], rest[num_carry:]
    steps = []
    for i in range(length):
        arguments = [*constants, *carried, *(x[i] for x in scanned)]
        outputs = _evaluate(jaxpr.jaxpr, jaxpr.consts, arguments)
        carried = outputs[:num_carry]
        steps.append(outputs[num_carry:])
    return [*carried, *(jnp.stack(parts) for parts in zip(*steps, strict=True))]


def _branched(index: Any, *inputs: Any, branches: Sequence[Any], **_: Any) -> list[Any]:
    """The outputs of a `cond`, with each branch rewritten to plain operations."""
    if not isinstance(index, Tracer):
        chosen = branches[int(index)]
        return _evaluate(chosen.jaxpr, chosen.consts, inputs)

    def plain(branch: Any) -> Callable[..., list[Any]]:
        def call(*traced: Any) -> list[Any]:
            rest = iter(traced)
            all_inputs = [
                next(rest) if isinstance(value, Tracer) else value for value in inputs
            ]
            return _evaluate(branch.jaxpr, branch.consts, all_inputs)

        return call

    # Constants are not passed to a branch as inputs, since it may not use them.
    traced = [value for value in inputs if isinstance(value, Tracer)]
    return jax.lax.switch(index, [plain(branch) for branch in branches], *traced)
