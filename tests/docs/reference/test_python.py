"""docs/reference/python.md has an entry for every public name."""

import importlib
import re
import runpy

import pytest

import lfq_jax
from tests.docs.pages import DOCS

PAGE = (DOCS / "reference" / "python.md").read_text()
ENTRIES = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)
MISSING = runpy.run_path(str(DOCS / "hooks" / "public_names.py"))["missing"]


def test_every_public_name_has_an_entry():
    assert MISSING(PAGE) == []


def test_a_name_without_an_entry_is_found():
    name = lfq_jax.__all__[0]
    without = re.sub(rf"^::: \S+\.{name}$", "", PAGE, flags=re.MULTILINE)
    assert MISSING(without) == [name]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_something_that_exists(entry: str):
    module, _, name = entry.rpartition(".")
    assert hasattr(importlib.import_module(module), name)
