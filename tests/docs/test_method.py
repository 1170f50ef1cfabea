"""docs/method.md: its figure is the one that the script draws."""

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.docs.pages import DOCS

SVG = "{http://www.w3.org/2000/svg}"


def _structure(path: Path) -> tuple[list[str], int, int]:
    """The words of a figure, and how many groups and paths it has."""
    root = ElementTree.parse(path).getroot()
    texts = [(e.text or "").strip() for e in root.iter(f"{SVG}text")]
    groups, paths = (len(list(root.iter(f"{SVG}{tag}"))) for tag in ("g", "path"))
    return texts, groups, paths


def test_the_figure_is_what_the_script_draws(tmp_path):
    script = runpy.run_path(str(DOCS / "figures" / "draw_method.py"))
    script["draw"](tmp_path / "method.svg")
    assert _structure(tmp_path / "method.svg") == _structure(script["TARGET"])
    assert "memory bank" in _structure(script["TARGET"])[0]
