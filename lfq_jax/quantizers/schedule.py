"""A linear schedule for a weight or a temperature."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def linear_factor(
    start: float, *, steps: int, step: Array | int | None
) -> Float[Array, ""]:
    """Factor that rises or falls linearly from `start` at step 0 to 1 at step `steps`.

    The factor is 1 in all later steps. With `steps` 0 it is always 1, without a step.

    Raises:
        ValueError: if `steps` is above 0 and no step is given.
    """
    if not steps:
        return jnp.ones((), jnp.float32)
    if step is None:
        raise ValueError(f"step must be given with anneal_steps {steps}, got None")
    done = jnp.clip(jnp.asarray(step, jnp.float32) / steps, 0.0, 1.0)
    return start + (1.0 - start) * done
