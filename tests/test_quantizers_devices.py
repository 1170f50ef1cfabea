"""Data parallel on 8 virtual devices equals one device on the whole batch.

The number of devices is fixed when jax starts, so this file runs itself anew.
"""

import os
import subprocess
import sys
from typing import Any

DEVICES = 8
CASES: dict[str, dict[str, Any]] = {
    "lfq": {"bits": 6, "entropy_weight": 1.0},
    "lfq in blocks": {"bits": 6, "entropy_weight": 1.0, "temperature": 0.7},
    "lfq running": {"bits": 6, "entropy_weight": 1.0, "running_momentum": 0.5},
    "residual_lfq": {"bits": 6, "stages": 2, "entropy_weight": 1.0},
    "bsq": {"bits": 6, "entropy_weight": 1.0},
    "fsq": {"levels": (8, 5, 5, 5, 3, 3)},
    "vq": {"codes": 40, "code_dim": 6},
    "simvq": {"codes": 40, "code_dim": 6},
    "none": {},
}
EIGHT_DEVICES = f"--xla_force_host_platform_device_count={DEVICES}"


def test_losses_gradients_statistics_and_state_are_those_of_the_whole_batch():
    environment = {**os.environ, "XLA_FLAGS": EIGHT_DEVICES, "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run(
        [sys.executable, "-W", "error", __file__],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    for case in CASES:
        assert f"{case}: equal" in finished.stdout


def compare(case: str, fields: dict[str, Any]) -> None:
    """One encoder W, z = x W, the batch of x split over the devices."""
    import functools

    import jax
    import numpy as np
    from jax.sharding import AxisType
    from jax.sharding import PartitionSpec as P

    from lfq_jax.quantizers import entropy, make

    entropy._BLOCK = 1 << 5 if "blocks" in case else 1 << 22
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

    # with jax's check of what varies, gradients come out summed; without it, a
    # trainer averages them
    checked = functools.partial(step, axis_name="data")
    bodies: list[tuple[Any, bool]] = [(checked, True)]
    if case in ("lfq", "vq"):
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
    print(f"{case}: equal")


def main() -> None:
    import jax

    assert jax.device_count() == DEVICES
    for case, fields in CASES.items():
        compare(case, fields)


if __name__ == "__main__":
    main()
