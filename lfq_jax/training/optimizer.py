"""AdamW with two learning rates and piecewise-constant decay (paper 4.3)."""

from typing import Any

import jax
import optax

from lfq_jax.config import TrainConfig


def schedule(rate: float, *, steps: int, config: TrainConfig) -> optax.Schedule:
    """Learning rate `rate`, multiplied by `decay_factor` at each share in `decay_at`.

    With `warmup`, the rate first rises linearly from 0 during that share of the steps.
    """
    boundaries = {round(at * steps): config.decay_factor for at in config.decay_at}
    decayed = optax.piecewise_constant_schedule(rate, boundaries)
    rising = round(config.warmup * steps)
    if not rising:
        return decayed
    return lambda step: decayed(step) * jax.numpy.minimum(1.0, (step + 1) / rising)


def _is_kernel(params: Any) -> Any:
    """True for convolution kernels, the only weights with weight decay."""
    return jax.tree.map(lambda leaf: leaf.ndim == 4, params)


def make_optimizer(config: TrainConfig, *, steps: int) -> optax.GradientTransformation:
    """The optimizer of `Variables.params` for a training of `steps` steps.

    The quantizer's weights have the autoencoder's learning rate.
    """

    def adamw(rate: float) -> optax.GradientTransformation:
        return optax.adamw(
            schedule(rate, steps=steps, config=config),
            weight_decay=config.weight_decay,
            mask=_is_kernel,
        )

    def labels(params: dict[str, Any]) -> dict[str, Any]:
        rate_of = {"discriminative": "discriminative"}
        return {
            name: jax.tree.map(lambda _, n=name: rate_of.get(n, "reconstructive"), leaf)
            for name, leaf in params.items()
        }

    two_rates = optax.multi_transform(
        {
            "reconstructive": adamw(config.reconstructive_learning_rate),
            "discriminative": adamw(config.discriminative_learning_rate),
        },
        labels,
    )
    if not config.clip_norm:
        return two_rates
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), two_rates)
