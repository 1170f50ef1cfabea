"""How a weight or a temperature changes over the steps."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def linear_factor(
    start: float, *, steps: int, step: Array | int | None
) -> Float[Array, ""]:
    """`start` at step 0, on a line to 1 at step `steps`, and 1 from there on.

    With 0 steps it is always 1, and the step is not needed.

    Raises:
        ValueError: if there is a schedule and no step is given.
    """
    if not steps:
        return jnp.ones((), jnp.float32)
    if step is None:
        raise ValueError(f"step must be given, for anneal_steps is {steps}, got None")
    done = jnp.clip(jnp.asarray(step, jnp.float32) / steps, 0.0, 1.0)
    return start + (1.0 - start) * done
