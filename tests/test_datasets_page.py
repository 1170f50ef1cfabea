"""The examples of docs/datasets.md run, and its table is complete."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

import datasets

PAGE = Path(__file__).parent.parent / "docs" / "datasets.md"


def _example(containing: str) -> str:
    blocks = PAGE.read_text().split("```python\n")[1:]
    return next(code for b in blocks if containing in (code := b.split("```")[0]))


def test_the_smallest_builder_works(tmp_path, monkeypatch):
    (tmp_path / "blots.py").write_text(_example("class Blots"))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("blots")
    test: Any = tfds.data_source(
        "blots/small", split="test", data_dir=tmp_path / "data"
    )
    assert len(test) == 4
    stored = next(r for r in test if r["defect"] == b"blot")
    assert stored["label"] == 1 and stored["mask"].sum() == 100 * 255
    np.testing.assert_array_equal(
        stored["image"][..., 0] == 200, stored["mask"][..., 0] > 0
    )


def test_tfds_finds_the_builders_by_name(tmp_path):
    for name in ("mvtec_ad/screw", "visa/all", "rendered_ad/gear", "dtd/woven"):
        builder = tfds.builder(name, data_dir=tmp_path)
        assert f"{builder.name}/{builder.builder_config.name}" == name  # type: ignore
        assert type(builder).__module__.startswith(f"{datasets.__name__}.")


def test_every_table_row_names_a_builder():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {row.split("`")[1] for row in rows[:5]}
    assert named == {*datasets.NAMES, "dtd"}
