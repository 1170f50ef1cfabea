"""The folder of compiled programs."""

from pathlib import Path

import jax

from experiments.run.compile_cache import keep_compiled
from tests.tiny_run import elsewhere

__all__ = ["elsewhere"]  # a fixture


def test_a_folder_that_jax_was_given_is_used_as_it_is(monkeypatch):
    changed = []
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
    monkeypatch.setattr(jax.config, "update", lambda *new: changed.append(new))
    keep_compiled(Path("cache"))
    assert not changed


def test_a_cache_that_is_not_writable_costs_one_line_and_no_run(capsys, monkeypatch):
    changed = []
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(jax.config, "update", lambda *new: changed.append(new))
    keep_compiled(Path("/dev/null/cache"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "/dev/null/cache/xla cannot be written to" in said
    assert not changed
    keep_compiled(Path("cache"))
    assert ("jax_compilation_cache_dir", "cache/xla") in changed
