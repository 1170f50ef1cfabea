"""The project's pages and the code blocks in them."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and every page below docs/."""
    return [
        PROJECT / "README.md",
        PROJECT / "CONTRIBUTING.md",
        *sorted(DOCS.rglob("*.md")),
    ]


def code_blocks(page: str, language: str = "python") -> list[str]:
    """The code of one language in a page, block by block.

    Args:
      page: its path below the project.
    """
    text = (PROJECT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
