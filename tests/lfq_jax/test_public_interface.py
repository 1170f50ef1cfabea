"""The public names of `lfq_jax`, and what importing them costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import lfq_jax

PROJECT = Path(__file__).resolve().parents[2]


def test_importing_the_package_imports_no_jax_and_every_public_name_can_be_had():
    code = """
import sys, lfq_jax
imported = {"jax", "flax", "numpy"} & set(sys.modules)
assert not imported, imported
assert dir(lfq_jax) == sorted(lfq_jax.__all__)
for name in lfq_jax.__all__:
    value = getattr(lfq_jax, name)
    assert getattr(value, "__module__", "lfq_jax").startswith("lfq_jax"), name
from lfq_jax import *
assert train is lfq_jax.train
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="lode"):
        _ = lfq_jax.lode  # pyright: ignore[reportAttributeAccessIssue]
