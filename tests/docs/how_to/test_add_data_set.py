"""docs/how_to/add_data_set.md: the programs that it shows run."""

import importlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

import datasets
from tests.docs.pages import PROJECT, code_blocks

PAGE = "docs/how_to/add_data_set.md"


def test_the_smallest_builder_works(tmp_path, monkeypatch):
    (program,) = [b for b in code_blocks(PAGE) if "class Blots" in b]
    (tmp_path / "blots.py").write_text(program)
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
    for name in (
        *("mvtec_ad/screw", "visa/all", "elpv/poly", "rendered_ad/gear", "dtd/woven"),
    ):
        builder = tfds.builder(name, data_dir=tmp_path)
        assert f"{builder.name}/{builder.builder_config.name}" == name  # type: ignore
        assert type(builder).__module__.startswith(f"{datasets.__name__}.")


def test_every_table_row_names_a_builder():
    text = (PROJECT / PAGE).read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {row.split("`")[1] for row in rows[:6]}
    assert named == {*datasets.NAMES, "dtd"}
