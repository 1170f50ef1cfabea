"""A detector's arrays by their path in the tree, as safetensors stores them."""

import typing
from typing import Any

import jax
import numpy as np

from lfq_jax.config.training_free import TrainingFreeMethod
from lfq_jax.inference.scoring_models import DetectorVariables
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.variables import Variables
from lfq_jax.training_free.model import TrainingFree, TrainingFreeVariables

_FITTED: dict[TrainingFreeMethod, str] = {
    "knn": "patches",
    "subspace": "subspace",
    "reconstruction": "autoencoder",
}
"""The field of `TrainingFreeVariables` that a method needs."""


def by_path(tree: Any) -> dict[str, np.ndarray]:
    """All arrays of a tree by path, for example `params/discriminative/head/bias`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.ascontiguousarray(leaf) for path, leaf in leaves}


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def variables_from_arrays(
    model: Model | TrainingFree, arrays: dict[str, np.ndarray]
) -> DetectorVariables:
    """The variables of `model` from arrays by path.

    The networks' arrays must have the model's shapes. What is fitted to the shots is
    accepted in any shape, because its size depends on the shots.

    Raises:
      ValueError: if an array is missing, unknown or of another shape.
    """
    if isinstance(model, TrainingFree):
        return _training_free_variables(model, arrays)
    return _network_variables(model, arrays)


def _training_free_variables(
    model: TrainingFree, arrays: dict[str, np.ndarray]
) -> TrainingFreeVariables:
    hints = typing.get_type_hints(TrainingFreeVariables)
    read = {name: _under(hints[name], name, arrays) for name in hints}
    _refuse_unknown(arrays, read)
    for name in ("extractor", _FITTED[model.config.method]):
        if read[name] is None:
            raise ValueError(f"{name} is missing: another version wrote it")
    return TrainingFreeVariables(**read)


def _network_variables(model: Model, arrays: dict[str, np.ndarray]) -> Variables:
    expected = jax.eval_shape(model.init, jax.random.key(0))
    paths, tree = jax.tree_util.tree_flatten_with_path(expected)
    leaves = []
    for path, leaf in paths:
        array = arrays.get(_name(path))
        if array is None or array.shape != leaf.shape:
            raise ValueError(
                f"{_name(path)} must have shape {leaf.shape}, got "
                f"{None if array is None else array.shape}: another version wrote it"
            )
        leaves.append(array)
    networks = jax.tree.unflatten(tree, leaves)
    hints = typing.get_type_hints(Variables)
    rest = {
        name: _under(hints[name], name, arrays)
        for name in Variables._fields
        if getattr(expected, name) is None
    }
    _refuse_unknown(arrays, networks, rest)
    return networks._replace(**rest)


def _refuse_unknown(arrays: dict[str, np.ndarray], *trees: Any) -> None:
    """Refuse arrays that are in none of the trees."""
    known = {name for tree in trees for name in _names(tree)}
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise ValueError(f"{unknown[0]} is unknown: another version wrote it")


def _names(tree: Any) -> list[str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [_name(path) for path, _ in leaves]


def _under(hint: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The array at `path`, or the tree of the arrays below `path`.

    None if there is neither.

    Args:
      hint: type annotation of the field at `path`.
    """
    if path in arrays:
        return arrays[path]
    below = [name for name in arrays if name.startswith(f"{path}/")]
    if not below:
        return None
    choices = (hint, *typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        count = len({name.removeprefix(f"{path}/").split("/")[0] for name in below})
        return tuple(_under(choices[1], f"{path}/{i}", arrays) for i in range(count))
    if any(typing.get_origin(choice) is dict for choice in choices):
        return {name.removeprefix(f"{path}/"): arrays[name] for name in below}
    kinds = [k for k in choices if hasattr(k, "_fields")]
    if not kinds:
        raise ValueError(f"{path} is unknown: another version wrote it")
    hints = typing.get_type_hints(kinds[0])
    read = {n: _under(hints[n], f"{path}/{n}", arrays) for n in kinds[0]._fields}
    present = {n: x for n, x in read.items() if x is not None}
    fields = kinds[0]._field_defaults | present
    missing = [n for n in kinds[0]._fields if n not in fields]
    if missing:
        raise ValueError(f"{path}/{missing[0]} is missing: another version wrote it")
    return kinds[0](**fields)
