"""The benchmark of LFQ: equal losses, printed rows, and its table."""

import json
import sys

import jax
import numpy as np
import pytest

from experiments.bench.quantizers import dense_loss, main, table
from lfq_jax.quantizers import make
from tests.refusals import refused


def test_the_dense_formulation_has_the_same_loss_and_gradient():
    z = 0.5 * jax.random.normal(jax.random.key(0), (20, 6))
    quantizer = make("lfq", bits=6)

    def factorised_loss(z: jax.Array) -> jax.Array:
        return quantizer.quantize({}, (), z, training=True).loss

    def dense_alone(z: jax.Array) -> jax.Array:
        return dense_loss(6, z)[0]

    value, gradient = jax.jit(jax.value_and_grad(factorised_loss))(z)
    dense, dense_gradient = jax.jit(jax.value_and_grad(dense_alone))(z)
    assert float(value) == pytest.approx(float(dense), abs=1e-6)
    assert np.abs(np.asarray(gradient) - np.asarray(dense_gradient)).max() < 1e-6


def test_the_benchmark_prints_every_row_and_its_ratios(monkeypatch, capsys):
    arguments = (
        *("--bits", "8", "--samples", "32", "4096", "--seconds", "0.01"),
        *("--methods", "ours", "dense", "--memory-gib", "0.01"),
    )
    monkeypatch.setattr(sys, "argv", ["quantizers", *arguments])
    main()
    output, errors = capsys.readouterr()
    rows = json.loads(output)["rows"]
    found = {(row["method"], row["samples"]): row for row in rows}
    assert set(found) == {(m, n) for m in ("ours", "dense") for n in (32, 4096)}
    assert found["ours", 32]["milliseconds"] > 0
    losses = [found[method, 32]["loss"] for method in ("ours", "dense")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    # a row that does not fit is skipped, with the memory that XLA reports for it
    skipped = found["dense", 4096]
    assert "milliseconds" not in skipped and "GiB" in skipped["skipped"]
    assert skipped["xla_mib"] > 4
    assert "| 8 | 4096 |" in errors


def test_the_table_shows_ratios_to_ours():
    rows = [
        {"method": "ours", "bits": 16, "samples": 9, "milliseconds": 2, "xla_mib": 4},
        {"method": "dense", "bits": 16, "samples": 9, "milliseconds": 6, "xla_mib": 40},
        {"method": "peer", "bits": 16, "samples": 9, "skipped": "not installed"},
    ]
    last = table(rows).splitlines()[-1]
    assert last == "| 16 | 9 | 2 | 6 | - | 4 | 40 | - | 3, 10 | -, - |"


def test_a_wrong_number_of_bits_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quantizers", "--bits", "0"])
    assert "--bits must be 1 or more each" in refused(capsys, main)
