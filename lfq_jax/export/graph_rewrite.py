"""A jax function rewritten to operations that any graph format has.

ONNX converters know every common operation, but not `reduce_window` with an initial
value, arrays without elements, or loops over the images of a batch. Those are replaced
here by operations that give the same bits, and what depends on no input is computed.
Of a choice by platform the default is taken, which may round otherwise.
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
    """`function` of arrays like `specs`, as a function of plain operations.

    Its outputs come as a flat tuple, in the order of `jax.tree.leaves`.
    """
    traced = jax.make_jaxpr(function)(*specs)

    def rewritten(*arguments: Any) -> tuple[Any, ...]:
        return tuple(_evaluate(traced.jaxpr, traced.consts, arguments))

    plain = jax.make_jaxpr(rewritten)(*specs)

    # In a trace the types are settled, whatever precision mode a converter has.
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
        found = _applied(equation, [read(each) for each in equation.invars])
        known.update(zip(equation.outvars, found, strict=True))
    return [read(each) for each in jaxpr.outvars]


def _applied(equation: Any, inputs: list[Any]) -> list[Any]:
    """The outputs of one operation, or of what stands for it."""
    name, parameters = equation.primitive.name, equation.params
    outputs = [each.aval for each in equation.outvars]
    if all(aval.size == 0 for aval in outputs):
        return [np.zeros(aval.shape, aval.dtype) for aval in outputs]
    if name == "platform_index":
        return [np.int32(_default_of(**parameters))]
    if not any(isinstance(each, Tracer) for each in inputs):
        with jax.ensure_compile_time_eval():
            return [np.asarray(each) for each in _bound(equation, inputs)]
    if name in _CALLS:
        inner = parameters.get("jaxpr") or parameters["call_jaxpr"]
        return _evaluate(inner.jaxpr, inner.consts, inputs)
    if name == "concatenate":
        return [_joined([each for each in inputs if np.size(each)], **parameters)]
    if name == "reduce_window" and _is_maximum(parameters["jaxpr"]):
        return [_largest_in_windows(*inputs, **parameters)]
    if name == "scan":
        return _unrolled(inputs, **parameters)
    if name == "cond":
        return _branched(*inputs, **parameters)
    return _bound(equation, inputs)


def _bound(equation: Any, inputs: list[Any]) -> list[Any]:
    found = equation.primitive.bind(*inputs, **equation.params)
    return list(found) if equation.primitive.multiple_results else [found]


def _default_of(platforms: Sequence[Sequence[str] | None]) -> int:
    """Which branch of `platform_dependent` is for devices that it does not name."""
    return list(platforms).index(None)


def _joined(parts: list[Any], *, dimension: int) -> Any:
    return parts[0] if len(parts) == 1 else jax.lax.concatenate(parts, dimension)


def _is_maximum(reducer: Any) -> bool:
    equations = getattr(reducer, "jaxpr", reducer).eqns
    return [each.primitive.name for each in equations] == ["max"]


def _largest_in_windows(
    x: Any,
    least: Any,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **dilations: Any,
) -> Any:
    """Maxima of shifted slices, an axis after the other."""
    for name in ("base_dilation", "window_dilation"):
        if any(each != 1 for each in dilations.get(name, ())):
            raise NotImplementedError(f"reduce_window with {name}")
    x = jnp.pad(x, padding, constant_values=least)
    sizes = zip(window_dimensions, window_strides, strict=True)
    for axis, (width, stride) in enumerate(sizes):
        count = (x.shape[axis] - width) // stride + 1
        end = (count - 1) * stride + 1
        found = None
        for start in range(width):
            part = jax.lax.slice_in_dim(x, start, start + end, stride, axis=axis)
            found = part if found is None else jnp.maximum(found, part)
        x = found
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
    """A loop, one step after the other."""
    if reverse:
        raise NotImplementedError("scan with reverse")
    fixed, rest = inputs[:num_consts], inputs[num_consts:]
    carried, walked = rest[:num_carry], rest[num_carry:]
    steps = []
    for i in range(length):
        arguments = [*fixed, *carried, *(each[i] for each in walked)]
        found = _evaluate(jaxpr.jaxpr, jaxpr.consts, arguments)
        carried = found[:num_carry]
        steps.append(found[num_carry:])
    return [*carried, *(jnp.stack(parts) for parts in zip(*steps, strict=True))]


def _branched(index: Any, *inputs: Any, branches: Sequence[Any], **_: Any) -> list[Any]:
    """A choice of branches, each of plain operations."""
    if not isinstance(index, Tracer):
        chosen = branches[int(index)]
        return _evaluate(chosen.jaxpr, chosen.consts, inputs)

    def plain(branch: Any) -> Callable[..., list[Any]]:
        def call(*traced: Any) -> list[Any]:
            rest = iter(traced)
            all_inputs = [
                next(rest) if isinstance(each, Tracer) else each for each in inputs
            ]
            return _evaluate(branch.jaxpr, branch.consts, all_inputs)

        return call

    # Constants are no inputs of a branch, which may not need them.
    traced = [each for each in inputs if isinstance(each, Tracer)]
    return jax.lax.switch(index, [plain(branch) for branch in branches], *traced)
