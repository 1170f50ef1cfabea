"""The benchmark of LFQ's loss: equal losses, all rows, and the ratios in its table."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments.bench.quantizers import dense_loss, table
from lfq_jax.quantizers import make

PROJECT = Path(__file__).resolve().parent.parent


def test_the_dense_formulation_has_the_same_loss_and_gradient():
    z = 0.5 * jax.random.normal(jax.random.key(0), (20, 6))
    quantizer = make("lfq", bits=6)

    def ours(z: jax.Array) -> jax.Array:
        return quantizer.quantize({}, (), z, training=True).loss

    value, gradient = jax.value_and_grad(ours)(z)
    dense, of_dense = jax.value_and_grad(lambda z: dense_loss(6, z)[0])(z)
    assert float(value) == pytest.approx(float(dense), abs=1e-6)
    assert float(jnp.abs(gradient - of_dense).max()) < 1e-6


def test_the_benchmark_prints_every_row_and_its_ratios():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.quantizers"),
            *("--bits", "8", "--samples", "32", "4096", "--seconds", "0.01"),
            *("--methods", "ours", "dense", "--memory-gib", "0.01"),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    rows = json.loads(done.stdout)["rows"]
    found = {(row["method"], row["samples"]): row for row in rows}
    assert set(found) == {(m, n) for m in ("ours", "dense") for n in (32, 4096)}
    assert found["ours", 32]["milliseconds"] > 0
    losses = [found[method, 32]["loss"] for method in ("ours", "dense")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    # What does not fit is not run, but XLA's memory plan is still printed.
    skipped = found["dense", 4096]
    assert "milliseconds" not in skipped and "GiB" in skipped["skipped"]
    assert skipped["xla_mib"] > 4
    assert "| 8 | 4096 |" in done.stderr


def test_the_table_divides_by_ours():
    rows = [
        {"method": "ours", "bits": 16, "samples": 9, "milliseconds": 2, "xla_mib": 4},
        {"method": "dense", "bits": 16, "samples": 9, "milliseconds": 6, "xla_mib": 40},
        {"method": "peer", "bits": 16, "samples": 9, "skipped": "not installed"},
    ]
    last = table(rows).splitlines()[-1]
    assert last == "| 16 | 9 | 2 | 6 | - | 4 | 40 | - | 3, 10 | -, - |"


def test_a_wrong_number_of_bits_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.bench.quantizers", "--bits", "0"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--bits must be 1 or more each" in done.stderr
