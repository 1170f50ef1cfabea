"""The state of a training between two steps."""

from typing import Any, NamedTuple

from jaxtyping import Array, Int32

from lfq_jax.model.variables import Tree, Variables


class TrainState(NamedTuple):
    """Everything that a run needs to resume from this step, bit for bit."""

    step: Int32[Array, ""]
    variables: Variables
    optimizer: Any
    averaged: Tree
    """Running mean of the weights, or () where `ema_decay` is 0."""
