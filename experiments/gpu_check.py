"""Checks and timings on the machine's own accelerator; prints a table for docs/gpu.md.

    python -m experiments.gpu_check

Installs nothing and runs on whatever jax is there. It ends with status 2 and one line
where jax finds no accelerator.
"""

import dataclasses
import sys
import time
from typing import Any, NamedTuple

REPETITIONS = 5
STEPS = 20  # of one compiled scan


class Row(NamedTuple):
    """One measured configuration of preset `paper`."""

    dtype: str
    batch: int
    training_images_per_second: float
    scoring_images_per_second: float
    peak_gib: float | None


def main() -> None:
    """Train and score in preset `paper`, in float32 and bfloat16."""
    import jax

    if jax.default_backend() == "cpu":
        print("error: jax finds no accelerator here", file=sys.stderr)
        raise SystemExit(2)
    device = jax.devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| dtype | batch | training images/s | scoring images/s | peak GiB |")
    print("|---|---|---|---|---|")
    for dtype in ("float32", "bfloat16"):
        for batch in (1, 8):
            row = measured(dtype, batch)
            peak = "-" if row.peak_gib is None else f"{row.peak_gib:.1f}"
            print(
                f"| {row.dtype} | {row.batch} | {row.training_images_per_second:.1f} | "
                f"{row.scoring_images_per_second:.1f} | {peak} |",
                flush=True,
            )


def measured(dtype: str, batch: int) -> Row:
    """Median rates over `REPETITIONS`, after one run that compiles."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from lfq_jax.config import PRESETS
    from lfq_jax.data import Photographs
    from lfq_jax.model import Model
    from lfq_jax.prepare import Preparation
    from lfq_jax.scoring import Scorer
    from lfq_jax.step import Trainer

    preset = PRESETS["paper"]
    model_config = dataclasses.replace(preset.model, compute_dtype=dtype)
    config = dataclasses.replace(preset.train, batch_size=batch, log_every=STEPS)
    rng = np.random.default_rng(0)
    shape = (16, model_config.image_px, model_config.image_px)
    images = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    masks = np.zeros(shape, np.uint8)
    masks[:, 64:96, 64:96] = 1
    data = Preparation(model_config, config.augment, is_texture=True, seed=0).training(
        Photographs(images[:2], images, masks, np.arange(16, dtype=np.int32) % 2),
        good=2,
    )
    model = Model(model_config)
    trainer = Trainer(model, config, steps=1000, is_texture=True)
    state = trainer.init(jax.random.key(0))

    def train(state: Any) -> Any:
        return jax.block_until_ready(trainer.run(state, data, jax.random.key(1))[0])

    seconds = []
    for _ in range(REPETITIONS + 1):
        started = time.perf_counter()
        state = train(state)
        seconds.append(time.perf_counter() - started)
    scorer, few = Scorer(model, preset.score), jnp.asarray(images[:batch])
    jax.block_until_ready(scorer(state.variables, few))
    scoring = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        jax.block_until_ready([scorer(state.variables, few) for _ in range(STEPS)])
        scoring.append(time.perf_counter() - started)
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return Row(
        dtype=dtype,
        batch=batch,
        training_images_per_second=STEPS * batch / float(np.median(seconds[1:])),
        scoring_images_per_second=STEPS * batch / float(np.median(scoring)),
        peak_gib=None if peak is None else peak / 2**30,
    )


if __name__ == "__main__":
    main()
