"""docs/how_to/add_quantizer.md: its file and its line make a quantizer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PROJECT, code_blocks

PACKAGES = ("agm_torch", "datasets", "experiments", "lfq_jax")
TINY = (
    *("--model.image-px", "32", "--model.reconstructive-widths", "6", "8"),
    *("--model.discriminative-widths", "6", "8", "--steps", "2", "--seeds", "0"),
    *("--anomalies", "4", "--validation-anomalies", "2", "--categories", "capsule"),
)


@pytest.fixture(scope="module")
def walked_through(tmp_path_factory) -> Path:
    """A copy of the project with the file and the line from the page."""
    copy = tmp_path_factory.mktemp("copy")
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.jpg", "*.png")
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    blocks = code_blocks("docs/how_to/add_quantizer.md")
    (file,) = [b for b in blocks if "class TernaryConfig" in b]
    (line,) = [b for b in blocks if b.lstrip().startswith('"ternary":')]
    assert len(line.splitlines()) == 1
    (copy / "lfq_jax/quantizers/ternary.py").write_text(file)
    registry = copy / "lfq_jax/quantizers/registry.py"
    before = '        "none": in_file('
    assert registry.read_text().count(before) == 1
    registry.write_text(registry.read_text().replace(before, line + before))
    return copy


def run_in(copy: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "LFQUIAD_CACHE": str(copy / "cache"),
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_the_walk_through_s_file_and_line_add_a_quantizer(walked_through):
    program = """
import jax, jax.numpy as jnp
import numpy as np
from experiments.quantizers.variants import read_variant
from lfq_jax.quantizers import make, name_of
config = read_variant("ternary:digits=4")
assert name_of(config) == "ternary"
quantizer = make(config)
params, state = quantizer.init(jax.random.key(0))
z = jax.random.normal(jax.random.key(1), (50, 4))
def loss(z):
    found = quantizer.quantize(params, state, z, training=True)
    return found.loss + jnp.sum(found.z_q), found
gradient, found = jax.jit(jax.grad(loss, has_aux=True))(z)
hard = np.clip(np.round(z), -1, 1)
np.testing.assert_array_equal(found.z_q, hard)
np.testing.assert_allclose(gradient, 1 + 0.5 * (z - hard) / z.size, atol=1e-6)
index = jnp.arange(81)
codes = quantizer.indices_to_codes(index)
np.testing.assert_array_equal(quantizer.codes_to_indices(codes), index)
values = quantizer.decode(params, state, found.codes)
np.testing.assert_array_equal(values, found.z_q)
assert 1 < found.statistics["perplexity"] <= 50
print("all of it")
"""
    done = run_in(walked_through, "-c", program)
    assert done.stdout == "all of it\n", done.stderr


@pytest.mark.slow
def test_the_walk_through_s_quantizer_is_compared_by_the_command(walked_through):
    done = run_in(
        walked_through,
        *("-m", "experiments.quantizers", "--variants", "ternary:digits=8", "none"),
        *TINY,
    )
    assert done.returncode == 0, done.stderr
    assert "ternary:digits=8" in done.stdout
    assert (walked_through / done.stdout.split()[-1]).name == "report.html"
