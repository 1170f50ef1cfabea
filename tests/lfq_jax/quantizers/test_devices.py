"""Data parallel on 8 virtual devices equals one device on the whole batch."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lfq_jax.quantizers import entropy, make

DEVICES = 8
CASES: dict[str, dict[str, Any]] = {
    "lfq in blocks": {"bits": 6, "entropy_weight": 1.0, "running_momentum": 0.5},
    "fsq": {"levels": (8, 5, 5, 5, 3, 3)},
    "vq": {"codes": 40, "code_dim": 6},
    "simvq": {"codes": 40, "code_dim": 6},
}


@pytest.mark.skipif(jax.device_count() < DEVICES, reason="needs 8 (virtual) devices")
@pytest.mark.parametrize("case", CASES)
def test_losses_gradients_statistics_and_state_equal_those_of_the_whole_batch(
    case, monkeypatch
):
    """One encoder W, z = x W, with the batch of x split over the devices."""
    if "blocks" in case:
        monkeypatch.setattr(entropy, "_BLOCK", 1 << 5)
    fields = CASES[case]
    quantizer = make(case.split()[0], dim=6, **fields)
    x = jax.random.normal(jax.random.key(1), (64, 10))
    weights = 0.3 * jax.random.normal(jax.random.key(2), (10, 6))
    params, state = quantizer.init(jax.random.key(0))

    def step(weights: Any, params: Any, x: Any, axis_name: str | None) -> Any:
        def loss(weights: Any, params: Any) -> Any:
            quantized = quantizer.quantize(
                params,
                state,
                x @ weights,
                training=True,
                axis_name=axis_name,
                key=jax.random.key(3),
            )
            return quantized.loss, (quantized.statistics, quantized.state)

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(weights, params)

    whole = jax.jit(functools.partial(step, axis_name=None))(weights, params, x)
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))

    def averaged(weights: Any, params: Any, x: Any) -> Any:
        value, gradients = step(weights, params, x, "data")
        return value, jax.lax.pmean(gradients, "data")

    # With jax's check of varying axes, gradients are summed over devices. Without the
    # check, a trainer averages them.
    checked = functools.partial(step, axis_name="data")
    bodies: list[tuple[Any, bool]] = [(checked, True)]
    if "lfq" in case:
        bodies.append((averaged, False))
    for body, check in bodies:
        mapped = jax.shard_map(
            body,
            mesh=mesh,
            in_specs=(P(), P(), P("data")),
            out_specs=P(),
            check_vma=check,
        )
        split = jax.jit(mapped)(weights, params, x)
        assert jax.tree.structure(split) == jax.tree.structure(whole)
        for ours, theirs in zip(
            jax.tree.leaves(split), jax.tree.leaves(whole), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
